"""Workers by EndpointSlices. The API server is a stand-in that speaks the documented protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.errors import ConfigError, ConnectError
from headrace.router.discovery import kubernetes
from headrace.router.discovery.kubernetes import Cluster, EndpointSliceSource, Slice, targets
from headrace.router.discovery.target import Target
from tests.router.discovery.api_server import ApiServer, endpoint_slice
from tests.wire.peer import wait_for

MODELS = frozenset(["m"])


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    monkeypatch.setattr(kubernetes, "_LEAST_PAUSE", 0.01)
    server = ApiServer()
    await server.start()
    yield server
    await server.stop()


class Heard:
    """What a source published."""

    def __init__(self, api: ApiServer, service: str = "vllm-worker-service") -> None:
        self.published: list[set[str]] = []
        source = EndpointSliceSource(Cluster(api.url, Path("/nowhere")), "llm", service, MODELS)
        self._task = asyncio.create_task(source.run(self._publish))

    def _publish(self, targets: Collection[Target]) -> None:
        self.published.append({target.name for target in targets})

    async def settle(self, *names: str) -> None:
        await wait_for(lambda: bool(self.published) and self.published[-1] == set(names), f"{self.published}")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def of(*slices: dict[str, Any]) -> list[Target]:
    decoded = [msgspec.convert(slice_, Slice) for slice_ in slices]
    return targets({slice_.metadata.name: slice_ for slice_ in decoded}, MODELS)


def test_ports_are_found_by_name() -> None:
    assert of(endpoint_slice("a", "10.0.0.1")) == [Target("http://10.0.0.1:8020", "http://10.0.0.1:9120", MODELS)]
    assert of(endpoint_slice("a", "10.0.0.1", ports={"web": 8000})) == [Target("http://10.0.0.1:8000", None, MODELS)]
    assert of(endpoint_slice("a", "fd00::1"))[0].url == "http://[fd00::1]:8020"


def test_what_cannot_be_a_worker_is_left_out() -> None:
    assert of(endpoint_slice("a", "10.0.0.1", ports={"one": 1, "two": 2})) == []
    assert of(endpoint_slice("a", "10.0.0.1", ports={})) == []
    assert (
        of(
            {
                "metadata": {"name": "a"},
                "addressType": "FQDN",
                "endpoints": [{"addresses": ["x"]}],
                "ports": [{"port": 1}],
            }
        )
        == []
    )
    assert of({"metadata": {"name": "a"}, "endpoints": None, "ports": None}) == []


def test_terminating_has_left_and_not_ready_has_not() -> None:
    assert of(endpoint_slice("a", "10.0.0.1", ready=False, serving=True, terminating=True)) == []
    assert len(of(endpoint_slice("a", "10.0.0.1", ready=False, serving=False, terminating=False))) == 1


async def test_list_then_watch(api: ApiServer) -> None:
    api.slices["a"] = endpoint_slice("a", "10.0.0.1")
    heard = Heard(api)
    await heard.settle("10.0.0.1:8020")
    await wait_for(lambda: api.watches == 1, "the watch")
    assert api.queries[1]["resourceVersion"] == "10"
    assert api.queries[1]["allowWatchBookmarks"] == "true"
    api.change("ADDED", endpoint_slice("b", "10.0.0.2"))
    await heard.settle("10.0.0.1:8020", "10.0.0.2:8020")
    api.tell({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "99"}}})
    api.change("MODIFIED", endpoint_slice("a", "10.0.0.1", "10.0.0.3"))
    await heard.settle("10.0.0.1:8020", "10.0.0.2:8020", "10.0.0.3:8020")
    api.change("DELETED", endpoint_slice("a"))
    await heard.settle("10.0.0.2:8020")
    assert len(api.calls) == 2
    await heard.close()


async def test_long_lists_come_in_pages(api: ApiServer) -> None:
    api.page = 2
    for number in range(5):
        api.slices[f"s{number}"] = endpoint_slice(f"s{number}", f"10.0.0.{number}")
    heard = Heard(api)
    await heard.settle(*(f"10.0.0.{number}:8020" for number in range(5)))
    assert len(heard.published) == 1
    await heard.close()


@pytest.mark.parametrize("end", ["clean", "gone"])
async def test_watch_that_ends_is_begun_with_a_new_list(api: ApiServer, end: str) -> None:
    api.slices["a"] = endpoint_slice("a", "10.0.0.1")
    heard = Heard(api)
    await wait_for(lambda: api.watches == 1, "the watch")
    api.slices["b"] = endpoint_slice("b", "10.0.0.2")  # its event is lost
    gone = {"kind": "Status", "code": 410, "reason": "Expired"}
    api.tell(None if end == "clean" else {"type": "ERROR", "object": gone})
    await heard.settle("10.0.0.1:8020", "10.0.0.2:8020")
    await heard.close()


async def test_workers_stay_while_the_api_server_is_away(api: ApiServer) -> None:
    api.slices["a"] = endpoint_slice("a", "10.0.0.1")
    heard = Heard(api)
    await heard.settle("10.0.0.1:8020")
    await wait_for(lambda: api.watches == 1, "the watch")
    await api.stop()
    await asyncio.sleep(0.1)
    assert len(heard.published) == 1
    api.slices["a"] = endpoint_slice("a", "10.0.0.9")
    await api.start()
    await heard.settle("10.0.0.9:8020")
    await heard.close()


async def test_refusal_is_tried_again(api: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    api.status = 403
    heard = Heard(api)
    await wait_for(lambda: len(api.calls) > 2, "some tries")
    assert not heard.published
    assert "discovery failed" in caplog.text
    api.status, api.slices["a"] = 200, endpoint_slice("a", "10.0.0.1")
    await heard.settle("10.0.0.1:8020")
    await heard.close()


async def test_service_without_slices_is_empty_at_once(api: ApiServer) -> None:
    heard = Heard(api, "other")
    await heard.settle()
    await heard.close()


def test_missing_account_is_told(tmp_path: Path) -> None:
    cluster = Cluster("https://kubernetes.default.svc", tmp_path)
    with pytest.raises(ConfigError, match=r"ca\.crt cannot be read"):
        cluster.client()
    with pytest.raises(ConnectError, match="token cannot be read"):
        cluster.headers()


def test_token_is_read_anew_each_time(tmp_path: Path) -> None:
    cluster = Cluster("https://kubernetes.default.svc", tmp_path)
    for token in ("one", "two"):
        (tmp_path / "token").write_text(token + "\n")
        assert cluster.headers() == {"authorization": f"Bearer {token}"}

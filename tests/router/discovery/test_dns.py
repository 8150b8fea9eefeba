"""Workers by SRV records, asked of a name server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection

import dns.rcode
import pytest

from headrace.errors import ConnectError
from headrace.router.discovery.dns import DnsSource, resolver
from headrace.router.discovery.replicas import Replicas
from headrace.router.discovery.target import Target
from tests.router.discovery.name_server import NameServer
from tests.wire.peer import wait_for

SERVICE = "vllm-worker-service.llm.svc"
MODELS = frozenset(["m"])


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    made = await NameServer.start()
    yield made
    made.close()


def source(server: NameServer, *, interval: float = 0.01) -> DnsSource:
    asked = resolver([server.address])
    asked.lifetime = 0.5
    return DnsSource(SERVICE, MODELS, asked, interval=interval)


class Heard:
    """What a source published."""

    def __init__(self, server: NameServer) -> None:
        self.published: list[set[str]] = []
        self._task = asyncio.create_task(source(server).run(self._publish))

    def _publish(self, targets: Collection[Target]) -> None:
        self.published.append({target.name for target in targets})

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.mark.parametrize("glue", [True, False])
async def test_traffic_and_ops_ports_belong_together_by_address(server: NameServer, glue: bool) -> None:
    server.glue = glue
    server.pod(SERVICE, "10.0.0.1")
    server.pod(SERVICE, "10.0.0.2", http=8000, ops=9000)
    assert await source(server).look() == {
        Target("http://10.0.0.1:8020", "http://10.0.0.1:9120", MODELS),
        Target("http://10.0.0.2:8000", "http://10.0.0.2:9000", MODELS),
    }


async def test_without_ops_records_they_are_bare_engines(server: NameServer) -> None:
    server.pod(SERVICE, "10.0.0.1", ops=None)
    assert await source(server).look() == {Target("http://10.0.0.1:8020", None, MODELS)}


async def test_ipv6_addresses_are_written_as_urls_want_them(server: NameServer) -> None:
    server.pod(SERVICE, "fd00::7")
    assert await source(server).look() == {Target("http://[fd00::7]:8020", "http://[fd00::7]:9120", MODELS)}


async def test_name_that_does_not_exist_has_no_workers(server: NameServer) -> None:
    assert await source(server).look() == frozenset()


async def test_only_changes_are_published(server: NameServer) -> None:
    server.pod(SERVICE, "10.0.0.1")
    heard = Heard(server)
    await wait_for(lambda: len(server.asked) > 12, "some looks")
    assert heard.published == [{"10.0.0.1:8020"}]
    server.pod(SERVICE, "10.0.0.2")
    await wait_for(lambda: len(heard.published) == 2, "the second worker")
    assert heard.published[1] == {"10.0.0.1:8020", "10.0.0.2:8020"}
    await heard.close()


@pytest.mark.parametrize("failure", ["servfail", "silent"])
async def test_workers_stay_while_the_name_server_does_not_tell(server: NameServer, failure: str) -> None:
    server.pod(SERVICE, "10.0.0.1")
    heard = Heard(server)
    await wait_for(lambda: bool(heard.published), "the worker")
    asked = len(server.asked)
    server.silent = failure == "silent"
    server.rcode = dns.rcode.SERVFAIL
    await wait_for(lambda: len(server.asked) > asked + 3, "the failures")
    assert len(heard.published) == 1
    server.silent, server.rcode = False, dns.rcode.NOERROR
    server.pod(SERVICE, "10.0.0.2")
    await wait_for(lambda: len(heard.published) == 2, "discovery to go on")
    await heard.close()


async def test_failure_says_which_name(server: NameServer) -> None:
    server.rcode = dns.rcode.SERVFAIL
    with pytest.raises(ConnectError, match=f"_http._tcp.{SERVICE} cannot be looked up"):
        await source(server).look()


async def test_empty_answer_is_believed_the_third_time(server: NameServer) -> None:
    server.pod(SERVICE, "10.0.0.1")
    heard = Heard(server)
    await wait_for(lambda: bool(heard.published), "the worker")
    known, server.records = server.records, {}
    asked = len(server.asked)
    await wait_for(lambda: len(server.asked) > asked, "an empty answer")
    server.records = known
    await wait_for(lambda: len(server.asked) > asked + 8, "some looks")
    assert len(heard.published) == 1
    server.records = {}
    await wait_for(lambda: len(heard.published) == 2, "the empty answer to be believed")
    assert heard.published[1] == set()
    await heard.close()


async def test_routers_are_counted_by_their_addresses(server: NameServer) -> None:
    counts: list[int] = []
    name = "router-headless.llm.svc"
    server.records[f"{name}.", "A"] = ["10.0.1.1", "10.0.1.2", "10.0.1.3"]
    asked = resolver([server.address])
    task = asyncio.create_task(Replicas(name, asked, counts.append, interval=0.01).run())
    await wait_for(lambda: counts == [3], "the count")
    server.records[f"{name}.", "A"] = ["10.0.1.1"]
    await wait_for(lambda: counts == [3, 1], "the count")
    server.rcode = dns.rcode.SERVFAIL
    before = len(server.asked)
    await wait_for(lambda: len(server.asked) > before + 3, "the failures")
    server.rcode, server.records = dns.rcode.NOERROR, {}
    before = len(server.asked)
    await wait_for(lambda: len(server.asked) > before + 3, "empty answers")
    assert counts == [3, 1]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

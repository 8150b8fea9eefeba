"""The router as a service: its pages, its secret, its drain, its metrics."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from headrace.config import RouterSettings, load
from headrace.errors import ConfigError
from headrace.router.app import RouterService
from headrace.router.worker import State
from tests.fakes import FakeWorker, answer, held, refuse
from tests.router.conftest import Router, StartRouter, StartWorker, request
from tests.wire.peer import wait_for


async def pools(router: Router, **headers: str) -> list[dict[str, Any]]:
    peer = await router.dial()
    await peer.send(request(b"", path="/pools", method="GET", **headers))
    reply = await peer.reply()
    assert reply.status == 200
    found: list[dict[str, Any]] = json.loads(reply.body)["pools"]
    return found


async def test_pools_tell_what_llm_api_needs(start_router: StartRouter, start_worker: StartWorker) -> None:
    text, small, vector = await start_worker(), await start_worker(), await start_worker("e")
    text.load["models"][0]["adapters"] = ["b", "a"]
    small.load["models"][0]["context"] = 512
    small.load.update(running=2, waiting=1, kv_used=3, kv_total=9)
    text.load["models"][0]["inputs"] = ["text", "image"]
    vector.load["models"][0].update(modality="embedding", inputs=["text", "image"])
    router = await start_router(text, small, vector)
    first, second = await pools(router)
    assert (first["name"], first["adapters"], first["context"], first["modality"]) == ("m", ["a", "b"], 512, "text")
    assert (first["queued"], first["wait_ms"]) == (0, 0)
    worker = first["workers"][1]
    assert {name: worker[name] for name in ("name", "state", "running", "waiting", "kv_used", "kv_total", "epoch")} == {
        "name": small.name,
        "state": "ready",
        "running": 2,
        "waiting": 1,
        "kv_used": 3,
        "kv_total": 9,
        "epoch": "1",
    }
    assert (second["name"], second["modality"]) == ("e", "embedding")
    assert (first["inputs"], second["inputs"]) == (["text"], ["text", "image"])  # what all of its workers take
    assert router.service.debug("pools") is not None
    assert router.service.debug("nothing") is None


async def test_pool_without_a_ready_worker_is_told_with_the_reason(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    worker.unready = "loading the model"
    [pool] = await pools(await start_router(worker))
    assert pool["workers"][0]["state"] == "starting"
    assert pool["workers"][0]["reason"] == "loading the model"


async def test_pools_need_the_secret(start_router: StartRouter, start_worker: StartWorker) -> None:
    router = await start_router(await start_worker(), hop_secret="new", hop_secret_previous="old")
    peer = await router.dial()
    await peer.send(request(b"", path="/pools", method="GET", x_headrace_secret="wrong"))
    assert (await peer.reply()).status == 401
    for secret in ("new", "old"):
        assert await pools(router, x_headrace_secret=secret)


async def test_drain_finishes_what_runs_and_what_waits(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker(max_running=1)
    router = await start_router(worker)
    go = asyncio.Event()
    worker.script = [held(go, answer())]
    running, waiting = await router.send(), await router.send()
    await wait_for(lambda: router.service.pools["m"].waiting == 1, "the second request")
    await router.service.drain()
    assert router.service.unready() == "draining"
    ending = asyncio.create_task(router.server.drain(20))
    go.set()
    assert [(await peer.reply()).status for peer in (running, waiting)] == [200, 200]
    assert await ending


async def test_worker_of_the_wrong_form_is_a_config_error() -> None:
    settings = load(RouterSettings, flags={"workers": ["m"]}, env=False)
    with pytest.raises(ConfigError, match="MODEL=http"):
        RouterService(settings)


async def test_router_starts_although_no_worker_is_there(start_router: StartRouter) -> None:
    router = await start_router("m=http://127.0.0.1:1")
    assert router.service.unready() is None
    [worker] = router.service.pools["m"].workers
    assert worker.state is State.DOWN


async def test_gauges_are_read_at_each_scrape(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker, starting = await start_worker(max_running=1), await start_worker()
    starting.unready = "loading"
    router = await start_router(worker, starting)
    go = asyncio.Event()
    worker.default = held(go, answer())
    peers = [await router.send() for _ in range(3)]
    await wait_for(lambda: router.metric("llm_router_queue_depth", "m", "5") == 2, "the queue")
    assert router.metric("llm_router_in_flight", "m", worker.name) == 1
    assert router.metric("llm_router_workers", "m", "ready") == 1
    assert router.metric("llm_router_workers", "m", "starting") == 1
    go.set()
    for peer in peers:
        await peer.reply()
    await router.idle()
    assert router.metric("llm_router_queue_depth", "m", "5") == 0
    assert router.metric("llm_router_in_flight", "m", worker.name) == 0
    assert router.metric("llm_router_queue_wait_seconds", "m", "5") == 3
    assert router.metric("llm_router_first_byte_seconds", "m") == 3


async def test_outcomes_are_counted_apart(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    worker.script = [answer(), refuse(400, "bad"), refuse(500, "broken")]
    for _ in range(3):
        await (await router.send()).reply()
    for outcome in ("ok", "status_400", "status_500"):
        assert router.metric("llm_router_requests_total", "m", outcome) == 1


async def test_full_queue_is_refused_with_retry_after(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker(max_running=1)
    router = await start_router(worker, queue=1)
    go = asyncio.Event()
    worker.default = held(go, answer())
    running = await router.send()
    await wait_for(lambda: bool(worker.requests), "the first request")
    waiting = await router.send()
    await wait_for(lambda: router.service.pools["m"].waiting == 1, "the second request")
    reply = await (await router.send()).reply()
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (503, "overloaded")
    assert 1 <= int(reply.headers["retry-after"]) <= 60
    go.set()
    assert [(await peer.reply()).status for peer in (running, waiting)] == [200, 200]


@pytest.mark.parametrize("own", [{}, {"m": {"tenant_share": 0.5}}])
async def test_tenant_that_has_its_share_waits_while_others_are_there(
    start_router: StartRouter, start_worker: StartWorker, own: dict[str, Any]
) -> None:
    worker = await start_worker(max_running=4)
    router = await start_router(worker, pools=own, tenant_share=1.0 if own else 0.5)
    go = asyncio.Event()
    worker.default = held(go, answer())
    peers = [await router.send(x_headrace_tenant=tenant) for tenant in ("b", "a", "a")]
    await wait_for(lambda: len(worker.requests) == 3, "these three")
    peers.append(await router.send(x_headrace_tenant="a"))
    await wait_for(lambda: router.service.pools["m"].waiting == 1, "the third of the tenant's")
    peers.append(await router.send(x_headrace_tenant="c"))
    await wait_for(lambda: len(worker.requests) == 4, "somebody else's")
    assert router.metric("llm_router_held_back_total", "m") == 1
    go.set()
    assert [(await peer.reply()).status for peer in peers] == [200] * 5


async def test_deadline_in_the_queue(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker(max_running=1)
    router = await start_router(worker)
    go = asyncio.Event()
    worker.default = held(go, answer())
    running = await router.send()
    await wait_for(lambda: bool(worker.requests), "the first request")
    reply = await (await router.send(x_headrace_deadline_ms="20")).reply()
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (504, "timeout")
    go.set()
    assert (await running.reply()).status == 200
    assert len(worker.requests) == 1


async def test_more_slots_let_those_in_who_wait(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker(max_running=1)
    router = await start_router(worker)
    go = asyncio.Event()
    worker.default = held(go, answer())
    peers = [await router.send() for _ in range(3)]
    await wait_for(lambda: router.service.pools["m"].waiting == 2, "the queue")
    worker.load["max_running"] = 3
    await wait_for(lambda: len(worker.requests) == 3, "the others to be let in")
    go.set()
    assert [(await peer.reply()).status for peer in peers] == [200] * 3


async def test_work_is_spread(start_router: StartRouter, start_worker: StartWorker) -> None:
    workers: list[FakeWorker] = [await start_worker() for _ in range(3)]
    router = await start_router(*workers)
    go = asyncio.Event()
    for worker in workers:
        worker.default = held(go, answer())
    peers = [await router.send() for _ in range(9)]
    await wait_for(lambda: sum(len(worker.requests) for worker in workers) == 9, "all requests")
    assert [len(worker.requests) for worker in workers] == [3, 3, 3]
    go.set()
    for peer in peers:
        await peer.reply()


async def test_worker_gets_exactly_these_headers(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker, hop_secret="s3cret")
    sent = {"x_headrace_secret": "s3cret", "x_headrace_prefix": "00" * 8, "x_headrace_other": "1", "accept": "*/*"}
    await (await router.send(b'{"a":1}', traceparent="00-1-2-01", authorization="Bearer x", **sent)).reply()
    assert worker.requests[0].headers == [
        ("host", worker.name),
        ("authorization", "Bearer s3cret"),
        ("traceparent", "00-1-2-01"),
        ("x-request-id", "id"),
        ("content-type", "application/json"),
        ("content-length", "7"),
    ]


async def test_query_and_path_reach_the_worker_unchanged(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    peer = await router.dial()
    await peer.send(request(path="/v1/a%2Fb?c=%20d"))
    await peer.reply()
    assert worker.requests[0].path == "/v1/a%2Fb?c=%20d"


async def test_expected_cache_hits_stand_beside_the_engines_own(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    worker.load.update(prompt_tokens=1000, cached_tokens=500)
    router = await start_router(worker)
    names = ("prompt_tokens", "expected_cached_tokens", "engine_prompt_tokens", "engine_cached_tokens")

    def told() -> list[float]:
        return [router.metric(f"llm_router_{name}_total", "m") for name in names]

    assert told() == [0, 0, 0, 0]  # what the engine did before is not ours
    for _ in range(2):
        await (await router.send(x_headrace_cost="100,1", x_headrace_prefix="0" * 16)).reply()
    worker.load.update(prompt_tokens=1200, cached_tokens=580)
    await wait_for(lambda: router.worker(worker).load.prompt_tokens == 1200, "the load")
    assert told() == [200, 100, 200, 80]
    worker.load.update(prompt_tokens=50, cached_tokens=10, epoch="2")
    await wait_for(lambda: router.worker(worker).load.epoch == "2", "the new process")
    assert told() == [200, 100, 250, 90]


async def test_decisions_are_explained(start_router: StartRouter, start_worker: StartWorker) -> None:
    workers = [await start_worker() for _ in range(2)]
    router = await start_router(*workers)
    for number in range(3):
        await (await router.send(x_request_id=f"id{number}")).reply()
    page = router.service.debug("decisions")
    assert page is not None
    decisions = json.loads(page)
    assert [decision["request_id"] for decision in decisions] == ["id2", "id1", "id0"]
    assert decisions[0]["profile"] == "latency"
    assert {candidate["worker"] for candidate in decisions[0]["candidates"]} == {worker.name for worker in workers}
    assert all(candidate["scores"]["latency"] > 0 for candidate in decisions[0]["candidates"])
    assert router.metric("llm_router_decisions_total", "m", "load") == 3


async def test_decisions_are_logged(start_router: StartRouter, start_worker: StartWorker, tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    router = await start_router(await start_worker(), decision_log=path)
    await (await router.send()).reply()
    await router.service.close()
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert events == ["choice", "first_byte"]


async def test_decision_log_that_cannot_be_written_is_a_config_error(tmp_path: Path) -> None:
    settings = load(
        RouterSettings, flags={"workers": ["m=http://a"], "decision_log": tmp_path / "no" / "log"}, env=False
    )
    with pytest.raises(ConfigError, match="decision_log"):
        RouterService(settings)

"""Neighbours of another version: what is unknown is ignored, what is missing has a default."""

from __future__ import annotations

from headrace.router.worker import State
from tests.fakes import completion, stream, tokens
from tests.router.conftest import StartRouter, StartWorker


async def test_llm_api_that_says_less(start_router: StartRouter, start_worker: StartWorker) -> None:
    router = await start_router(await start_worker())
    absent = {"x_headrace_tenant": "", "x_headrace_cost": "", "x_headrace_deadline_ms": "", "x_request_id": ""}
    reply = await (await router.send(b"{}", **absent)).reply()
    assert (reply.status, reply.body) == (200, completion())
    await router.idle()


async def test_llm_api_that_says_more(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    worker.script = [stream()]
    reply = await (await router.send(x_headrace_tomorrow="1", x_headrace_cost_v2="{}")).reply()
    assert (reply.status, reply.body) == (200, b"".join(tokens(3)))
    names = {name for name, _ in worker.requests[0].headers}
    assert not [name for name in names if name.startswith("x-headrace")]


async def test_worker_that_says_less(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    worker.load = {"running": 0, "waiting": 0, "max_running": 4, "models": [{"name": "m"}]}
    router = await start_router(worker)
    await router.settle(worker, State.READY)
    assert (await (await router.send()).reply()).status == 200


async def test_worker_that_says_more(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    worker.load |= {"tomorrow": {"a": [1]}, "models": [{"name": "m", "context": 1, "tomorrow": True}]}
    router = await start_router(worker)
    await router.settle(worker, State.READY)
    assert (await (await router.send()).reply()).status == 200

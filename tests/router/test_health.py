"""How the router sees its workers."""

from __future__ import annotations

import asyncio

import pytest

from headrace.router.health.watch import Watch
from headrace.router.worker import State
from headrace.service.secret import HopSecret
from tests.fakes import answer, silence
from tests.router.conftest import StartRouter, StartWorker
from tests.wire.peer import wait_for


@pytest.mark.parametrize("bare", [False, True])
async def test_ready_down_and_back(start_router: StartRouter, start_worker: StartWorker, bare: bool) -> None:
    worker = await start_worker(bare=bare)
    router = await start_router(worker)
    await router.settle(worker, State.READY)
    await worker.stop()
    await router.settle(worker, State.DOWN)
    await worker.start()
    await router.settle(worker, State.READY)
    assert (await (await router.send()).reply()).status == 200


async def test_starting_and_draining_get_nothing(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker, other = await start_worker(), await start_worker()
    worker.unready = "loading the model"
    router = await start_router(worker, other)
    await router.settle(worker, State.STARTING)
    assert router.worker(worker).reason == "loading the model"
    other.load["draining"] = True
    worker.unready = ""
    await router.settle(other, State.DRAINING)
    await router.settle(worker, State.READY)
    for _ in range(5):
        await (await router.send()).reply()
    assert (len(worker.requests), len(other.requests)) == (5, 0)


@pytest.mark.parametrize("bare", [False, True])
async def test_another_model_is_misnamed(start_router: StartRouter, start_worker: StartWorker, bare: bool) -> None:
    worker = await start_worker("real", bare=bare)
    router = await start_router(worker.spec.replace("real=", "m="), cold_wait=0.05)
    await router.settle(worker, State.MISNAMED)
    assert router.worker(worker).reason == "it serves real, not m"
    await asyncio.sleep(0.1)
    assert (await (await router.send()).reply()).status == 503


async def test_nonsense_is_forgiven_twice(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker, poll_interval=1000)
    await wait_for(lambda: len(worker.ops.calls) >= 2, "the look at the start")
    known = router.worker(worker)
    watched = Watch(known, lambda: 1000.0, HopSecret(""), router.service.roster.looked)
    for state in (State.READY, State.READY, State.DOWN):
        worker.ops.script = [answer(200, b"ok"), answer(200, b"not json")]
        await watched.look()
        assert known.state is state
    await watched.look()
    assert known.state is State.READY


async def test_the_pool_without_workers_waits_then_refuses(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    router = await start_router(worker, cold_wait=0.5)
    await worker.stop()
    await router.settle(worker, State.DOWN)
    waiting = await router.send()
    reply = await waiting.reply()
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) > 0
    assert b"cannot be reached" in reply.body


async def test_a_request_outlives_a_restart(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker, cold_wait=60)
    await worker.stop()
    await router.settle(worker, State.DOWN)
    waiting = await router.send()
    await worker.start()
    assert (await waiting.reply()).status == 200


async def test_silent_ops_port_is_busy_not_dead(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    worker.ops.script = [silence]
    assert (await (await router.send()).reply()).status == 200
    assert router.worker(worker).state is State.READY

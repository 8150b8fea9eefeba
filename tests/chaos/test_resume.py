"""Streams and answers whose workers are killed, drained or hang: nobody notices."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable

import pytest

from tests.chaos.conftest import StartFleet
from tests.chaos.fleet import Fleet, Worker
from tests.chaos.invariants import Account
from tests.chaos.load import Load

pytestmark = pytest.mark.e2e


async def survive(fleet: Fleet, seed: int, disturb: Callable[[Worker, Load], Awaitable[None]]) -> None:
    """100 streams at a time, and each worker disturbed in its turn."""
    load = Load(fleet.client(), Account(), seed)
    order = random.Random(seed).sample(fleet.workers, len(fleet.workers))

    async def chaos() -> None:
        for worker in order:
            await disturb(worker, load)
            await load.get_on()

    await load.run(chaos)
    await judge(fleet, load)


async def judge(fleet: Fleet, load: Load) -> None:
    """Everything was answered and billed once, and nothing is left."""
    await asyncio.to_thread(fleet.wait_idle)
    account = load.account
    account.settle(await asyncio.to_thread(fleet.ledger))
    tokens = fleet.samples("api")
    for kind in ("prompt", "completion"):
        expected = sum(asked.usage[f"{kind}_tokens"] for asked in account.asked)
        assert tokens.total("llm_api_tokens_total", kind=kind) == expected
    assert fleet.router_metric("llm_router_not_resumable_total") == 0
    assert fleet.router_metric("llm_router_requests_total") == len(account.asked)


async def bring_back(fleet: Fleet, worker: Worker) -> None:
    worker.start()
    await asyncio.to_thread(worker.wait_ready)
    await asyncio.to_thread(fleet.wait_state, worker, "ready")


async def test_kill_9_one_after_another(start_fleet: StartFleet, seed: int) -> None:
    fleet = start_fleet(profile="latency")

    async def kill(worker: Worker, load: Load) -> None:
        worker.end()
        await load.get_on()
        await bring_back(fleet, worker)

    await survive(fleet, seed, kill)
    assert fleet.router_metric("llm_router_resumes_total") > 0  # how many were under way is the machine's pace


async def test_sigterm_one_after_another(start_fleet: StartFleet, seed: int) -> None:
    """A rolling restart: what runs is finished, so nothing has to be resumed."""
    fleet = start_fleet(profile="latency")

    async def drain(worker: Worker, load: Load) -> None:
        worker.signal(signal.SIGTERM)
        await asyncio.to_thread(worker.wait_end)
        await bring_back(fleet, worker)

    await survive(fleet, seed, drain)
    assert fleet.router_metric("llm_router_resumes_total") == 0


async def test_workers_that_hang_without_closing(start_fleet: StartFleet, seed: int) -> None:
    """One that is stopped altogether, and one whose engine stands still while its ops port answers."""
    fleet = start_fleet(profile="latency")
    stopped, stuck = random.Random(seed).sample(fleet.workers, 2)
    load = Load(fleet.client(), Account(), seed)

    async def hang() -> None:
        stopped.signal(signal.SIGSTOP)
        await asyncio.to_thread(stuck.set, hang=True)
        await load.get_on()
        stopped.signal(signal.SIGCONT)
        await asyncio.to_thread(stuck.set, hang=False)

    await load.run(hang)
    await judge(fleet, load)
    assert fleet.router_metric("llm_router_resumes_total") > 0

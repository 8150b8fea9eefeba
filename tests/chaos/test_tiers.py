"""Every tier is restarted, or stands still, under load: nobody notices more than a pause."""

from __future__ import annotations

import asyncio
import random
import signal

import pytest

from tests.chaos.conftest import StartFleet
from tests.chaos.fleet import Fleet, Replica, Worker
from tests.chaos.invariants import Account
from tests.chaos.load import Load
from tests.chaos.test_resume import bring_back

pytestmark = pytest.mark.e2e

STREAMS = 40


async def restart(replica: Replica) -> None:
    await asyncio.to_thread(replica.drain)
    replica.start()
    await asyncio.to_thread(replica.wait_ready)


async def restart_worker(fleet: Fleet, worker: Worker) -> None:
    worker.signal(signal.SIGTERM)
    await asyncio.to_thread(worker.wait_end)
    await bring_back(fleet, worker)


async def test_rolling_restart_of_every_tier(start_fleet: StartFleet, seed: int) -> None:
    """One after another, in an order of chance: no request fails, no stream breaks, each is billed once."""
    fleet = start_fleet(3, apis=2, routers=2)
    account = Account()
    load = Load(fleet.client(), account, seed, streams=STREAMS, json=0.2)
    before = fleet.memory()
    tiers: list[Replica | Worker] = [*fleet.apis, *fleet.routers, *fleet.workers]
    random.Random(seed).shuffle(tiers)

    async def roll() -> None:
        for one in tiers:
            await (restart(one) if isinstance(one, Replica) else restart_worker(fleet, one))
            await asyncio.to_thread(fleet.wait_all_ready)
            await load.get_on()

    await load.run(roll)
    await asyncio.to_thread(fleet.settle, account, before)


async def test_tiers_that_stand_still(start_fleet: StartFleet, seed: int) -> None:
    """SIGSTOP, and some time later SIGCONT, of a router and of an llm-api: what they had goes on."""
    fleet = start_fleet(3, apis=2, routers=2)
    account = Account()
    load = Load(fleet.client(), account, seed, streams=STREAMS, json=0.2)
    before = fleet.memory()
    rng = random.Random(seed)

    async def pause() -> None:
        for replica in (rng.choice(fleet.apis), rng.choice(fleet.routers)):
            replica.command.signal(signal.SIGSTOP)
            await asyncio.sleep(2 + rng.random())
            replica.command.signal(signal.SIGCONT)
            await load.get_on()

    await load.run(pause)
    await asyncio.to_thread(fleet.settle, account, before)

"""What the services stand on gives way under load: PostgreSQL, Valkey, the disk, the clock, DNS."""

from __future__ import annotations

import asyncio
import random
import resource
import sys
from pathlib import Path

import pytest

from tests.chaos.conftest import StartFleet
from tests.chaos.invariants import Account
from tests.chaos.load import Load
from tests.e2e.patience import wait_until
from tests.router.discovery.name_server import NameServer
from tests.stores import Gate

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="limits of another process, and all of 127/8, are Linux's"),
]

STREAMS = 30
SERVICE = "worker.llm.svc"
DAY = 86_400


async def test_stores_that_go_and_come_back(
    start_fleet: StartFleet, seed: int, postgresql_gate: tuple[Gate, str], valkey_gate: tuple[Gate, str]
) -> None:
    """The real PostgreSQL and the real Valkey, one, the other, both: no request fails, and all usage lands."""
    (database, database_url), (limits, limits_url) = postgresql_gate, valkey_gate
    fleet = start_fleet(2, apis=2, api={"database": database_url, "redis": limits_url})
    account = Account()
    load = Load(fleet.client(), account, seed, streams=STREAMS, json=0.2)
    before = fleet.memory()
    gates = [[database], [limits], [database, limits]]
    random.Random(seed).shuffle(gates)

    async def take_away() -> None:
        for away in gates:
            for gate in away:
                await asyncio.to_thread(gate.shut)
            await load.get_on()
            for gate in away:
                gate.open()
            await load.get_on()

    await load.run(take_away)
    await asyncio.to_thread(fleet.settle, account, before)


async def test_full_disk(start_fleet: StartFleet, seed: int) -> None:
    """llm-api can write nothing for a while, logs and database included: no request fails, and what is lost is told.

    The limit on the size of its files stands for the disk: a write fails as it would there, with another number.
    """
    fleet = start_fleet(2)
    account = Account()
    load = Load(fleet.client(), account, seed, streams=STREAMS, json=0.2)
    pid = fleet.api.pid
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)

    async def fill() -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, unlimited[1]))
        full = len(account.asked)
        await asyncio.to_thread(wait_until, "some finish", lambda: len(account.asked) >= full + 2 * STREAMS)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        await load.get_on()

    await load.run(fill)
    await asyncio.to_thread(fleet.wait_counters)
    rows = await asyncio.to_thread(fleet.ledger)
    lost = fleet.total("api", "llm_api_ledger_dropped_total")
    assert lost >= STREAMS
    assert len(rows) + lost == len(account.finished)
    billed = {row.id for row in rows}
    kept = Account()
    for asked in account.asked:
        if asked.id in billed:
            kept.judge(asked)
    kept.settle(rows)


async def test_clock_that_steps(start_fleet: StartFleet, seed: int, tmp_path: Path) -> None:
    """The wall clocks of llm-api and router jump by hours and days, in both directions, apart from each other."""
    files = {kind: tmp_path / f"clock-{kind}" for kind in ("api", "router")}
    for file in files.values():
        file.write_text("0")
    fleet = start_fleet(2, shims={kind: [f"clock={file}"] for kind, file in files.items()})
    account = Account()
    load = Load(fleet.client(), account, seed, streams=STREAMS, json=0.2)
    before = fleet.memory()
    rng = random.Random(seed)

    async def step() -> None:
        for _ in range(3):
            for file in files.values():
                file.write_text(str(rng.choice([-1, 1]) * rng.randrange(1, 2 * DAY)))
            await load.get_on()
        for file in files.values():
            file.write_text("0")
        await load.get_on()

    await load.run(step)
    await asyncio.to_thread(fleet.settle, account, before)


async def test_workers_that_change_in_dns(start_fleet: StartFleet, seed: int) -> None:
    """They leave and come by their records alone, one of them for good; meanwhile the name server fails."""
    server = await NameServer.start()
    try:
        fleet = start_fleet(4, discovery=f"m=dns://{SERVICE}", nameservers=[server.address], poll_interval=0.1)

        def publish(numbers: list[int]) -> None:
            server.records.clear()
            for number in numbers:
                worker = fleet.workers[number]
                server.pod(SERVICE, worker.host, http=worker.port, ops=worker.ops_port)

        publish([0, 1])
        await asyncio.to_thread(fleet.finish_start, 2)
        account = Account()
        load = Load(fleet.client(), account, seed, streams=STREAMS, json=0.2)
        before = fleet.memory()

        async def change() -> None:
            publish([1, 2])
            await asyncio.to_thread(fleet.wait_ready_count, 2, fleet.workers[2].name)
            await load.get_on()
            server.silent = True
            await load.get_on()
            server.silent = False
            publish([2, 3])
            await asyncio.to_thread(fleet.wait_ready_count, 2, fleet.workers[3].name)
            await load.get_on()

        await load.run(change)
        await asyncio.to_thread(fleet.settle, account, before)
    finally:
        server.close()

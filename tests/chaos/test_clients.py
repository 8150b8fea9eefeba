"""Clients that leave at any moment, and clients that do not read."""

from __future__ import annotations

import asyncio
import os
import random
import time

import psutil
import pytest

from tests.chaos.client import Client
from tests.chaos.conftest import StartFleet
from tests.chaos.fleet import Fleet
from tests.chaos.load import ask
from tests.e2e.patience import PATIENCE, wait_until
from tests.wire.peer import Peer

pytestmark = pytest.mark.e2e

REQUESTS = 10_000
AT_ONCE = 64
SLOW_READERS = int(os.environ.get("HEADRACE_TEST_SLOW_READERS", "250"))
"""By default as many as a busy machine fills within the minute after which they are cut."""
KIB = 1024


async def test_random_aborts_leave_nothing_in_flight(start_fleet: StartFleet, seed: int) -> None:
    fleet = start_fleet(pace=0.001)
    client, rng, left = fleet.client(), random.Random(seed), iter(range(REQUESTS))

    async def visit() -> None:
        for number in left:
            path, body = ask(f"client {number}", rng.randrange(1, 12))
            if rng.random() < 0.3:
                del body["stream"], body["stream_options"]
            peer = await client.send(path, body)
            if rng.random() < 0.5:
                await asyncio.sleep(rng.random() * 0.03)
                (peer.reset if rng.random() < 0.5 else peer.close)()
            else:
                await read_all(peer)
                peer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(visit())
    await asyncio.to_thread(fleet.wait_counters)
    assert fleet.router_metric("llm_router_cancellations_total") > 0
    assert cancelled(fleet) > 0


async def read_all(peer: Peer) -> None:
    async with asyncio.timeout(PATIENCE):
        head = (await peer.reader.readuntil(b"\r\n\r\n")).lower()
        if b"transfer-encoding: chunked" in head:
            async for _ in peer.chunks():
                pass
        else:
            await peer.reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))


async def test_client_that_leaves_frees_the_worker(start_fleet: StartFleet) -> None:
    fleet = start_fleet(2, pace=0.05)
    path, body = ask("Leave", 10_000)
    peers = [await fleet.client().send(path, body) for _ in range(20)]
    for peer in peers:
        await peer.reader.readuntil(b"\n\n")
    began = time.monotonic()
    for peer in peers:
        peer.close()
    await asyncio.to_thread(wait_until, "the workers know", lambda: cancelled(fleet) == 20)
    print(f"the workers knew after {time.monotonic() - began:.2f} s")  # noqa: T201  for docs/verified.md
    await asyncio.to_thread(fleet.wait_counters)
    assert fleet.router_metric("llm_router_cancellations_total", stage="streaming") == 20


def cancelled(fleet: Fleet) -> int:
    return sum([worker.stats()["cancelled"] for worker in fleet.workers])


async def test_slow_readers_cost_bounded_memory(start_fleet: StartFleet) -> None:
    """Of streams of 4 MB each nobody reads anything: each hop keeps at most what section 1 of the design allows."""
    fleet = start_fleet(pace=0, replay_memory=16 * KIB * KIB)  # which has a bound of its own
    for worker in fleet.workers:
        worker.set(padding=64 * KIB)
    services = [psutil.Process(command.pid) for command in (fleet.router, fleet.api)]
    before = [service.memory_info().rss for service in services]
    client, peers = fleet.client(), list[Peer]()
    try:
        for number in range(SLOW_READERS):
            peers.append(await slow_reader(client, number))
        await asyncio.to_thread(standstill, fleet)
        for service, rss in zip(services, before, strict=True):
            grown = (service.memory_info().rss - rss) / SLOW_READERS / KIB
            print(service.pid, f"{grown:.0f} KiB a reader")  # noqa: T201  for docs/failure-handling.md
            assert grown < 1024
        for peer in peers[:20]:
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await read_all(peer)
    finally:
        for peer in peers:
            peer.reset()
    await asyncio.to_thread(fleet.wait_counters)


async def slow_reader(client: Client, number: int) -> Peer:
    path, body = ask(f"slow {number}", 120)
    peer = await client.send(path, body, receive_buffer=16 * KIB)
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    return peer


def standstill(fleet: Fleet) -> None:
    """Wait until no worker can send any more."""
    steps: list[float] = []

    def look() -> bool:
        steps.append(sum([worker.steps() for worker in fleet.workers]))
        return len(steps) > 20 and steps[-1] == steps[-20]

    wait_until("the workers stand still", look)

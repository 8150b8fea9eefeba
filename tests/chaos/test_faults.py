"""Workers that reset connections at every place, and requests that workers die of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from tests.chaos.client import CHAT
from tests.chaos.conftest import StartFleet
from tests.chaos.fleet import Fleet
from tests.chaos.invariants import Account, Asked
from tests.chaos.load import MODEL, ask, put
from tests.chaos.test_resume import bring_back
from tests.e2e.patience import wait_until

pytestmark = pytest.mark.e2e

TOKENS = 4
AT_ONCE = 16


async def through_every_offset(fleet: Fleet, most: int, one: Callable[[int], Awaitable[None]]) -> int:
    """Ask for answers that break after 0, 1, 2, … ``most`` bytes; how many were long enough to."""
    offsets = iter(range(most))

    async def work() -> None:
        for offset in offsets:
            await one(offset)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    await asyncio.to_thread(fleet.wait_idle)
    return sum([worker.stats()["resets"] for worker in fleet.workers])


async def test_stream_reset_at_every_offset(start_fleet: StartFleet) -> None:
    fleet = start_fleet(2, pace=0, poll_interval=0.02, profile="latency")
    client, account = fleet.client(), Account()

    async def one(offset: int) -> None:
        await put(client, account, Asked(*ask(f"RESET-AT-{offset}", TOKENS), TOKENS))

    resets = await through_every_offset(fleet, 1400, one)
    account.settle(await asyncio.to_thread(fleet.ledger))
    assert 800 < resets < 1400
    assert fleet.router_metric("llm_router_resumes_total") > 400


async def test_answer_reset_at_every_offset(start_fleet: StartFleet) -> None:
    fleet = start_fleet(2, pace=0, poll_interval=0.02, profile="latency")
    client, account = fleet.client(), Account()

    async def one(offset: int) -> None:
        body = {"model": MODEL, "max_tokens": TOKENS, "messages": [{"role": "user", "content": f"RESET-AT-{offset}"}]}
        await put(client, account, Asked(CHAT, body, TOKENS))

    resets = await through_every_offset(fleet, 450, one)
    account.settle(await asyncio.to_thread(fleet.ledger))
    assert 200 < resets < 450


@pytest.mark.parametrize("place", [0, 5])
async def test_request_that_kills_does_not_walk_through_the_fleet(start_fleet: StartFleet, place: int) -> None:
    """Before the first text and in the middle of it: two workers die, the others never see it; then it is refused."""
    fleet = start_fleet(pace=0.005, profile="latency")
    client = fleet.client()
    path, body = ask(f"DIE-AT-{place}", 40)
    stream = await client.ask(path, body)
    assert [error["code"] for error in stream.errors] == ["request_crashes_worker"]
    wait_until("two workers are dead", lambda: sum(worker.ended for worker in fleet.workers) == 2)
    dead = [worker for worker in fleet.workers if worker.ended]
    again = await client.ask(path, body)
    assert (again.status, json.loads(again.body)["error"]["code"]) == (500, "request_crashes_worker")
    other, harmless = ask("Something else", 40)
    await put(client, Account(), Asked(other, harmless, 40))
    assert [worker for worker in fleet.workers if worker.ended] == dead
    assert fleet.router_metric("llm_router_poisoned_total") == 1
    for worker in dead:
        await bring_back(fleet, worker)
    fleet.wait_idle()

"""Each invariant is broken on purpose, in the real services, and the judge says which."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.chaos import shim
from tests.chaos.conftest import StartFleet
from tests.chaos.fleet import Fleet
from tests.chaos.invariants import Account, Violated
from tests.chaos.load import Load

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chaos,
    # The first violation ends all other clients wherever they are.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BROKEN = [
    ("api", shim.lose_request, "answered"),
    ("router", shim.repeat_events, "whole"),
    ("api router", shim.end_silently, "whole"),  # llm-api alone would notice what the router hides
    ("api", shim.bill_twice, "usage"),
    ("api", shim.forget_usage, "usage"),
    ("router", shim.leak_counter, "counters"),
    ("router", shim.keep_memory, "memory"),
]


@pytest.mark.parametrize(("kinds", "sabotage", "invariant"), BROKEN, ids=[what.__name__ for _, what, _ in BROKEN])
async def test_the_judge_notices(
    start_fleet: StartFleet, seed: int, kinds: str, sabotage: Callable[[], None], invariant: str
) -> None:
    fleet = start_fleet(2, pace=0.005, shims={kind: [sabotage.__name__] for kind in kinds.split()})
    with pytest.raises(Violated) as found:
        await disturb(fleet, seed)
    assert found.value.invariant == invariant, found.value


async def disturb(fleet: Fleet, seed: int) -> None:
    """A worker dies under load, and all is judged."""
    account = Account()
    load = Load(fleet.client(), account, seed, streams=40)
    before = fleet.memory()

    async def kill() -> None:
        fleet.workers[0].end()
        while len(account.asked) < 120:
            await asyncio.sleep(0.05)

    try:
        await load.run(kill)
    except BaseExceptionGroup as group:
        found = group.subgroup(Violated)
        raise found.exceptions[0] if found is not None else group from None
    await asyncio.to_thread(fleet.settle, account, before, patience=5.0)

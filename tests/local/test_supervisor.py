from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from headrace.local.child import Child, State
from headrace.local.supervisor import Supervisor
from tests.local.yard import Yard, alive, until


@asynccontextmanager
async def supervised(yard: Yard, *tiers: list[Child], drain_timeout: float = 30.0) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(tiers, drain_timeout=drain_timeout)
    yard.listener = supervisor.changed
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.kill()
        await asyncio.wait_for(supervisor.stop(), 30)


async def test_is_ready_when_every_child_is(yard: Yard) -> None:
    children = [yard.child(yard.service(name)) for name in ("a", "b")]
    async with supervised(yard, children) as supervisor:
        assert await asyncio.wait_for(supervisor.ready(), 30)
        assert {child.state for child in children} == {State.READY}


async def test_tiers_drain_one_after_another(yard: Yard) -> None:
    names = ("web", "api", "router", "worker")
    tiers = [[yard.child(yard.service(name, drain="0.05"))] for name in names]
    async with supervised(yard, *tiers) as supervisor:
        assert await asyncio.wait_for(supervisor.ready(), 30)
        assert await asyncio.wait_for(supervisor.stop(), 30) == []
    expected = [f"{name} {event}" for name in names for event in ("drains", "ends")]
    assert yard.events()[len(names) :] == expected


async def test_a_child_that_does_not_drain_is_killed_and_named(yard: Yard) -> None:
    stuck = yard.child(yard.service("stuck", drain="stuck"))
    after = yard.child(yard.service("after"))
    async with supervised(yard, [stuck], [after], drain_timeout=0.5) as supervisor:
        assert await asyncio.wait_for(supervisor.ready(), 30)
        assert await asyncio.wait_for(supervisor.stop(), 30) == [stuck]
    assert yard.events()[-2:] == ["after drains", "after ends"]


async def test_the_second_request_to_stop_kills(yard: Yard) -> None:
    stuck = yard.child(yard.service("stuck", drain="stuck"))
    async with supervised(yard, [stuck], drain_timeout=600) as supervisor:
        assert await asyncio.wait_for(supervisor.ready(), 30)
        pid = stuck.pid
        assert pid is not None
        assert not supervisor.ask_stop()
        stopping = asyncio.create_task(supervisor.stop())
        await until(lambda: "stuck drains" in yard.events())
        assert supervisor.ask_stop()
        supervisor.kill()
        await asyncio.wait_for(stopping, 30)
        assert not alive(pid)


async def test_is_over_when_a_child_is_given_up(yard: Yard) -> None:
    fine, broken = yard.child(yard.service("fine")), yard.child(yard.script("broken", "raise SystemExit(2)"))
    async with supervised(yard, [fine], [broken]) as supervisor:
        assert not await asyncio.wait_for(supervisor.ready(), 30)
        assert supervisor.failed == [broken]


async def test_a_request_to_stop_ends_the_wait_for_readiness(yard: Yard) -> None:
    never = yard.child(yard.script("never", "import time; time.sleep(600)"))
    async with supervised(yard, [never]) as supervisor:
        waiting = asyncio.create_task(supervisor.ready())
        await until(lambda: never.pid is not None)
        supervisor.ask_stop()
        assert not await asyncio.wait_for(waiting, 30)


async def test_a_defect_in_a_child_does_not_look_like_a_long_start(yard: Yard) -> None:
    def broken() -> None:
        raise RuntimeError("defect")

    supervisor = Supervisor([[yard.child(yard.service("a"))]], drain_timeout=1)
    yard.listener = broken
    supervisor.start()
    with pytest.raises(RuntimeError, match="defect"):
        await asyncio.wait_for(supervisor.ready(), 30)
    supervisor.kill()

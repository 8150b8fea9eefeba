"""The routers as llm-api sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from headrace.api.fleet import Fleet
from headrace.errors import Overloaded
from headrace.service.secret import HopSecret
from tests.api.conftest import StartRouter
from tests.fakes import FakeRouter, answer, raw, refuse

StartFleet = Callable[..., Awaitable[Fleet]]


@pytest.fixture
async def start_fleet() -> AsyncIterator[StartFleet]:
    fleets: list[Fleet] = []

    async def start(*routers: FakeRouter, secret: str = "") -> Fleet:
        fleet = Fleet([router.url for router in routers], HopSecret(secret))
        fleets.append(fleet)
        await fleet.start()
        return fleet

    yield start
    for fleet in fleets:
        fleet.close()


async def test_pools_are_merged_and_a_ready_one_wins(start_fleet: StartFleet, start_router: StartRouter) -> None:
    first, second = await start_router("a", "b", state="down"), await start_router("b", "c")
    fleet = await start_fleet(first, second)
    assert {pool.name: pool.ready for pool in fleet.pools()} == {"a": False, "b": True, "c": True}


async def test_router_that_is_gone_is_not_believed_beside_another(
    start_fleet: StartFleet, start_router: StartRouter
) -> None:
    gone, there = await start_router("m"), await start_router("m", state="down")
    fleet = await start_fleet(gone, there)
    await gone.stop()
    await fleet._look()
    found = fleet.pool("m")
    assert found is not None
    assert not found.ready
    await gone.start()


async def test_what_was_known_stays_while_nobody_answers(start_fleet: StartFleet, start_router: StartRouter) -> None:
    router = await start_router("m")
    fleet = await start_fleet(router)
    await router.stop()
    await fleet._look()
    assert not fleet.reachable
    assert fleet.pool("m") is not None
    fleet.demand()
    await router.start()
    await fleet._look()
    assert fleet.reachable


@pytest.mark.parametrize(
    "nonsense",
    [
        answer(200, b"<html>"),
        answer(200, b"{}"),
        answer(200, b'{"pools":[{"name":"\xff"}]}'),
        refuse(500, "x"),
        refuse(401, "x"),
        raw(b"", "close"),
        raw(b"nonsense\r\n\r\n"),
    ],
)
async def test_nonsense_is_a_router_that_is_not_there(
    start_fleet: StartFleet, start_router: StartRouter, nonsense: object
) -> None:
    router = await start_router("m")
    router.refuses = nonsense  # type: ignore[assignment]
    fleet = await start_fleet(router)
    assert not fleet.reachable
    with pytest.raises(Overloaded):
        fleet.demand()
    router.refuses = None
    await fleet._look()
    assert fleet.reachable


async def test_fields_of_a_newer_router_are_ignored(start_fleet: StartFleet, start_router: StartRouter) -> None:
    router = await start_router("m")
    router.pools[0]["mood"] = "good"
    fleet = await start_fleet(router)
    assert fleet.pool("m") is not None


async def test_secret_is_shown(start_fleet: StartFleet, start_router: StartRouter) -> None:
    router = await start_router("m")
    await start_fleet(router, secret="s3cret")
    assert router.calls[0].header("x-headrace-secret") == "s3cret"


async def test_same_beginning_meets_the_same_router(start_fleet: StartFleet, start_router: StartRouter) -> None:
    fleet = await start_fleet(*[await start_router("m") for _ in range(3)])
    blocks = [b"%016x" % number for number in range(300)]
    first = [fleet.order("m", block + b"0" * 16)[0] for block in blocks]
    assert first == [fleet.order("m", block + b"1" * 16)[0] for block in blocks]
    assert min(Counter(router.origin.name for router in first).values()) > 50


async def test_only_the_lost_routers_share_moves(start_fleet: StartFleet, start_router: StartRouter) -> None:
    fleet = await start_fleet(*[await start_router("m") for _ in range(3)])
    blocks = [b"%016x" % number for number in range(100)]
    before = [fleet.order("m", block)[0] for block in blocks]
    lost = fleet.routers[0]
    lost.reachable = False
    after = [fleet.order("m", block)[0] for block in blocks]
    assert lost not in after
    assert all(new is old for old, new in zip(before, after, strict=True) if old is not lost)


async def test_prompts_without_a_prefix_are_spread(start_fleet: StartFleet, start_router: StartRouter) -> None:
    fleet = await start_fleet(*[await start_router("m") for _ in range(3)])
    counts = Counter(fleet.order("m", b"")[0].origin.name for _ in range(300))
    assert min(counts.values()) > 50


async def test_all_are_tried_when_none_seems_reachable(start_fleet: StartFleet, start_router: StartRouter) -> None:
    fleet = await start_fleet(*[await start_router("m") for _ in range(2)])
    for router in fleet.routers:
        router.reachable = False
    assert len(fleet.order("m", b"")) == 2


async def test_routers_come_and_go_with_their_addresses(start_router: StartRouter) -> None:
    first, second = await start_router("a"), await start_router("b")
    ports = {"first": first.url, "second": second.url}
    urls = [ports["first"]]

    class Names:
        async def look(self) -> list[str]:
            return urls

    fleet = Fleet(["http://routers:1"], HopSecret(""))
    fleet._addresses = Names()  # type: ignore[assignment]
    await fleet.start()
    gone = fleet.routers[0]
    assert [pool.name for pool in fleet.pools()] == ["a"]
    urls[:] = [ports["second"]]
    await fleet._look()
    assert [pool.name for pool in fleet.pools()] == ["b"]
    assert gone in fleet._leaving  # what runs over its connections is not cut
    urls[:] = [ports["first"], ports["second"]]
    await fleet._look()
    assert gone in fleet.routers  # with its connections
    fleet.close()


async def test_popular_beginning_does_not_overload_its_router(
    start_fleet: StartFleet, start_router: StartRouter
) -> None:
    fleet = await start_fleet(*[await start_router("m") for _ in range(3)])
    home, second, third = fleet.order("m", b"0" * 16)
    held = [await home.origin.connect() for _ in range(8)]
    assert fleet.order("m", b"0" * 16)[0] is second
    held += [await router.origin.connect() for router in (second, third) for _ in range(8)]
    assert fleet.order("m", b"0" * 16) == [home, second, third]
    for connection in held:
        connection.abort()

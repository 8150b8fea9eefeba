"""Which router gets a request."""

from __future__ import annotations

from collections import Counter
from typing import cast

from headrace.api.fleet import Fleet
from headrace.service.secret import HopSecret
from headrace.simulate.engine import POOL
from headrace.simulate.routers.router import Router
from headrace.simulate.spread import ByPrefix, InTurn, url
from tests.simulate.engines import request


class Stub:
    in_flight = 0


def routers(count: int) -> list[Router]:
    return [cast(Router, Stub()) for _ in range(count)]


def test_by_prefix_chooses_as_llm_api_does() -> None:
    stubs = routers(5)
    spread = ByPrefix(stubs)
    fleet = Fleet([url(number) for number in range(5)], HopSecret("", ""))
    for number in range(50):
        asked = request(f"prompt {number}", 100, 1)
        expected = fleet.order(POOL, asked.prompt.keys[0])[0].url
        assert url(stubs.index(spread(asked))) == expected


def test_popular_beginning_does_not_overload_its_router() -> None:
    stubs = routers(4)
    spread = ByPrefix(stubs)
    for _ in range(100):
        spread(request("same", 100, 1)).in_flight += 1
    assert max(stub.in_flight for stub in stubs) <= 1.25 * 100 / 4 + 1


def test_in_turn_gives_each_the_same() -> None:
    stubs = routers(3)
    spread = InTurn(stubs)
    assert Counter(stubs.index(spread(request("a", 100, 1))) for _ in range(9)) == {0: 3, 1: 3, 2: 3}

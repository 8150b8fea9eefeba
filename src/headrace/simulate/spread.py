"""Which of several routers gets a request: llm-api's rule for ours, a plain balancer in front of the others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Protocol

from xxhash import xxh3_64_intdigest

from headrace.simulate.engine import POOL
from headrace.simulate.request import Request
from headrace.simulate.routers.router import Router

_BOUND, _SLACK = 1.25, 8.0


class Spread(Protocol):
    def __call__(self, request: Request) -> Router: ...


class ByPrefix:
    """``api.fleet.Fleet.order``: rendezvous hashing of the pool and the prompt's first block, with bounded loads."""

    def __init__(self, routers: Sequence[Router]) -> None:
        self._routers = list(zip(routers, map(seed, range(len(routers))), strict=True))
        self._turn = count(1)

    def __call__(self, request: Request) -> Router:
        routers = self._routers
        if len(routers) == 1:
            return routers[0][0]
        keys = request.prompt.keys
        key = POOL.encode() + keys[0] if keys else b"%d" % next(self._turn)
        bound = max(_SLACK, _BOUND * (sum(router.in_flight for router, _ in routers) + 1) / len(routers))
        ranked = sorted(routers, key=lambda known: xxh3_64_intdigest(key, known[1]), reverse=True)
        return min(ranked, key=lambda known: known[0].in_flight >= bound)[0]


class InTurn:
    """What a Service or any balancer that knows nothing does."""

    def __init__(self, routers: Sequence[Router]) -> None:
        self._routers = routers
        self._turn = count()

    def __call__(self, request: Request) -> Router:
        return self._routers[next(self._turn) % len(self._routers)]


def url(number: int) -> str:
    """Of a router."""
    return f"http://10.255.0.{number}:8001"


def seed(number: int) -> int:
    return xxh3_64_intdigest(url(number).encode())

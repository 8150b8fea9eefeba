from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from headrace.store.limits.limiter import Limiter
from headrace.store.limits.memory import MemoryLimiter
from headrace.store.limits.redis import RedisLimiter


class FakeClock:
    """Microseconds since 1970, moved by hand; begins at noon of 15 January 2027, UTC."""

    def __init__(self) -> None:
        self.now = 1_800_014_400 * 1_000_000

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += round(seconds * 1_000_000)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "valkey"])
async def limiter(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Limiter]:
    if request.param == "memory":
        yield MemoryLimiter(clock=clock)
        return
    redis = RedisLimiter(request.getfixturevalue("valkey"), clock=clock, timeout=20)
    await redis._server.commands.flushall()
    yield redis
    await redis.close()


@pytest.fixture
def settled(limiter: Limiter) -> Callable[[], Awaitable[None]]:
    """Waits until what was settled has arrived."""

    async def wait() -> None:
        while isinstance(limiter, RedisLimiter) and limiter._server._asked:
            await asyncio.sleep(0.001)

    return wait

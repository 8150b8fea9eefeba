"""Both backends keep what they are given for as long as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from headrace.errors import StoreError
from headrace.store.keep.keep import Keep
from headrace.store.keep.memory import MemoryKeep
from headrace.store.keep.redis import RedisKeep


@pytest.fixture(params=["memory", "valkey"])
async def keep(request: pytest.FixtureRequest) -> AsyncIterator[Keep]:
    found: Keep = MemoryKeep()
    if request.param == "valkey":
        redis = RedisKeep(request.getfixturevalue("valkey"), timeout=20)
        await redis._server.commands.flushall()
        found = redis
    yield found
    await found.close()


async def test_one_of_many_gets_the_claim(keep: Keep) -> None:
    found = await asyncio.gather(*(keep.claim("a", b"%d" % number, 60) for number in range(20)))
    [winner] = [number for number, other in enumerate(found) if other is None]
    assert {other for other in found if other is not None} == {b"%d" % winner}


async def test_what_is_put_replaces_the_claim(keep: Keep) -> None:
    await keep.claim("a", b"mark", 60)
    await keep.put("a", b"\x00value\xff", 60)
    assert await keep.get("a") == b"\x00value\xff"
    assert await keep.claim("a", b"mark", 60) == b"\x00value\xff"


async def test_what_is_dropped_is_free(keep: Keep) -> None:
    await keep.claim("a", b"mark", 60)
    await keep.drop("a")
    assert await keep.get("a") is None
    assert await keep.claim("a", b"mark", 60) is None


async def test_time_ends_it_and_extends_it(keep: Keep) -> None:
    await keep.claim("short", b"mark", 0.05)
    await keep.claim("long", b"mark", 0.05)
    await keep.extend("long", 60)
    await keep.extend("absent", 60)
    await asyncio.sleep(0.1)
    assert [await keep.get(name) for name in ("short", "long", "absent")] == [None, b"mark", None]
    assert await keep.claim("short", b"again", 60) is None


async def test_memory_has_a_bound_and_the_oldest_go_first() -> None:
    keep = MemoryKeep(limit=10_000)
    for number in range(100):
        await keep.put(str(number), bytes(1000), 60)
        assert keep.size <= 10_000
    assert await keep.get("0") is None
    assert await keep.get("99") == bytes(1000)


async def test_expired_values_make_room_first() -> None:
    now = 0.0
    keep = MemoryKeep(limit=3000, clock=lambda: now)
    await keep.put("long", bytes(1000), 100)
    await keep.put("short", bytes(1000), 1)
    now = 2.0
    await keep.put("new", bytes(1000), 100)
    assert await keep.get("long") == bytes(1000)


async def test_what_is_larger_than_everything_is_not_kept() -> None:
    keep = MemoryKeep(limit=1000)
    await keep.put("a", bytes(2000), 60)
    assert await keep.get("a") is None
    assert keep.size == 0


async def test_claims_are_never_forgotten_for_want_of_room() -> None:
    keep = MemoryKeep(limit=2000)
    await keep.claim("running", b"mark", 60)
    for number in range(10):
        await keep.put(str(number), bytes(500), 60)
    assert await keep.get("running") == b"mark"
    more = await asyncio.gather(
        *(keep.claim(f"claim{number}", b"", 60) for number in range(10)), return_exceptions=True
    )
    assert isinstance(more[-1], StoreError)
    assert await keep.get("running") == b"mark"


async def test_server_that_is_away_is_a_store_error() -> None:
    keep = RedisKeep("redis://127.0.0.1:1", timeout=0.2)
    for job in (
        keep.claim("a", b"", 1),
        keep.get("a"),
        keep.put("a", b"", 1),
        keep.extend("a", 1),
        keep.drop("a"),
    ):
        with pytest.raises(StoreError, match="does not answer"):
            await job
    await keep.close()

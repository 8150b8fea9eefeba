"""What only Redis can do: leases that expire, processes that share, servers that go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headrace.errors import ConfigError, StoreError
from headrace.store.limits.limiter import Refusal
from headrace.store.limits.redis import RedisLimiter
from tests.store.limits.conftest import FakeClock
from tests.store.limits.test_limiter import admitted, key, refused, tenant


@pytest.fixture
async def pair(valkey: str, clock: FakeClock) -> AsyncIterator[list[RedisLimiter]]:
    """Two processes on one server."""
    limiters = [RedisLimiter(valkey, clock=clock, timeout=20) for _ in range(2)]
    await limiters[0]._server.commands.flushall()
    yield limiters
    for limiter in limiters:
        await limiter.close()


async def test_two_processes_at_once_never_exceed_the_limit(valkey: str) -> None:
    limiters = [RedisLimiter(valkey, timeout=20) for _ in range(2)]  # with the server's clock
    await limiters[0]._server.commands.flushall()
    subjects = [key(tokens_per_day=1000, concurrency=70), tenant(requests_per_minute=60)]
    outcomes = await asyncio.gather(*(limiters[index % 2].reserve(subjects, 25) for index in range(200)))
    leases = [outcome for outcome in outcomes if not isinstance(outcome, Refusal)]
    assert len(leases) == 40
    for lease in leases:
        lease.settle(10)
    for limiter in limiters:
        await limiter.close()


async def test_a_crash_leaks_no_slot_and_no_budget(pair: list[RedisLimiter], clock: FakeClock) -> None:
    subjects = [key(concurrency=1, tokens_per_day=100, tokens_per_minute=100)]
    await admitted(pair[0], subjects, 100)
    clock.pass_seconds(29)
    assert (await refused(pair[1], subjects, 1)).limit == "concurrency"
    clock.pass_seconds(31)
    await admitted(pair[1], subjects, 100)


async def test_all_limits_of_a_request_are_one_round_trip(pair: list[RedisLimiter]) -> None:
    one = pair[0]
    limits = {"requests_per_minute": 9, "tokens_per_minute": 900, "concurrency": 9, "tokens_per_day": 900}
    subjects = [key(**limits), tenant(**limits)]
    await admitted(one, subjects)  # which also sends the script
    await one._server.commands.config_resetstat()
    await admitted(one, subjects)
    stats = await one._server.commands.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 1
    assert "cmdstat_eval" not in stats


async def test_a_renewed_lease_lives_on(pair: list[RedisLimiter], clock: FakeClock) -> None:
    subjects = [key(concurrency=1)]
    lease = await admitted(pair[0], subjects)
    for _ in range(10):
        clock.pass_seconds(10)
        await pair[0].renew()
        await refused(pair[1], subjects)
    lease.settle(0)
    await arrived(pair[0])
    await pair[0].renew()
    await admitted(pair[1], subjects)


async def test_a_lease_that_expired_does_not_come_back(pair: list[RedisLimiter], clock: FakeClock) -> None:
    subjects = [key(concurrency=1)]
    await admitted(pair[0], subjects)
    clock.pass_seconds(31)
    await admitted(pair[1], subjects)
    await pair[0].renew()
    await refused(pair[1], subjects)


async def test_what_is_settled_late_is_still_charged(pair: list[RedisLimiter], clock: FakeClock) -> None:
    subjects = [key(tokens_per_day=100)]
    lease = await admitted(pair[0], subjects, 50)
    clock.pass_seconds(31)
    lease.settle(90)
    await arrived(pair[0])
    await refused(pair[1], subjects, 11)
    await admitted(pair[1], subjects, 10)


async def test_a_request_that_left_meanwhile_holds_nothing(pair: list[RedisLimiter]) -> None:
    subjects = [key(concurrency=1)]
    asking = asyncio.create_task(pair[0].reserve(subjects, 10))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    for _ in range(1000):
        if not isinstance(await pair[1].reserve(subjects, 10), Refusal):
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("the slot is still held")


async def test_processes_are_counted_as_long_as_they_live(pair: list[RedisLimiter], clock: FakeClock) -> None:
    assert (await pair[0].renew(), await pair[1].renew()) == (1, 2)
    clock.pass_seconds(20)
    assert await pair[0].renew() == 2
    clock.pass_seconds(20)
    assert await pair[0].renew() == 1


async def test_states_are_forgotten_when_they_say_nothing_more(pair: list[RedisLimiter]) -> None:
    redis = pair[0]._server.commands
    kept: dict[str, Any] = {"a": {"requests_per_minute": 1}, "b": {"tokens_per_day": 9}, "c": {"tokens_per_month": 9}}
    for name, limits in kept.items():
        await admitted(pair[0], [key(name, **limits)], 1)
    days = [round(await redis.pttl(f"headrace:limits:1:{{t}}:key:{name}") / 86_400_000, 3) for name in kept]
    assert days == [pytest.approx(120 / 86400, abs=0.001), 2, 32]
    assert 0 < await redis.pttl("headrace:limits:1:{t}:key:a:leases") <= 90_000


async def test_a_debt_is_remembered_until_it_is_paid(pair: list[RedisLimiter]) -> None:
    (await admitted(pair[0], [key(tokens_per_minute=10)], 10)).settle(1000)
    await arrived(pair[0])
    assert await pair[0]._server.commands.pttl("headrace:limits:1:{t}:key:k") > 5_900_000


async def test_a_server_that_is_not_there_is_a_store_error() -> None:
    limiter = RedisLimiter("unix:///nowhere/at/all", timeout=0.2)
    with pytest.raises(StoreError, match="redis does not answer"):
        await limiter.reserve([key(concurrency=1)], 1)
    with pytest.raises(StoreError, match="redis does not answer"):
        await limiter.renew()
    await limiter.close()


async def test_a_server_that_says_nothing_is_a_store_error() -> None:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    limiter = RedisLimiter(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=0.2)
    with pytest.raises(StoreError, match="redis does not answer"):
        await limiter.reserve([key(concurrency=1)], 1)
    await limiter.close()
    server.close()


def test_a_wrong_url_is_told() -> None:
    with pytest.raises(ConfigError, match="redis: Redis URL must"):
        RedisLimiter("http://localhost")


async def arrived(limiter: RedisLimiter) -> None:
    while limiter._server._asked:
        await asyncio.sleep(0.001)

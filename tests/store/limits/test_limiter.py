"""What every backend does: the same tests for memory and for a real Valkey."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest

from headrace.store.limits.limiter import Lease, Limiter, Refusal, Spent
from headrace.store.limits.memory import MemoryLimiter
from headrace.store.limits.quota import CLOSED, Quota, Subject, make
from headrace.store.limits.redis import RedisLimiter
from tests.store.limits.conftest import FakeClock

Settled = Callable[[], Awaitable[None]]


def key(name: str = "k", /, **limits: int) -> Subject:
    return make(f"key:{name}", "t", Quota(**limits))


def tenant(**limits: int) -> Subject:
    return make("tenant:t", "t", Quota(**limits))


async def admitted(limiter: Limiter, subjects: Sequence[Subject], tokens: int = 0) -> Lease:
    outcome = await limiter.reserve(subjects, tokens)
    assert not isinstance(outcome, Refusal), outcome
    return outcome


async def refused(limiter: Limiter, subjects: Sequence[Subject], tokens: int = 0) -> Refusal:
    outcome = await limiter.reserve(subjects, tokens)
    assert isinstance(outcome, Refusal)
    return outcome


@pytest.mark.parametrize("limit", [1, 7, 1000, 999_983])
async def test_a_first_request_of_exactly_the_limit_passes(limiter: Limiter, limit: int) -> None:
    subjects = [key(tokens_per_minute=limit, requests_per_minute=1)]
    lease = await admitted(limiter, subjects, limit)
    assert lease.tokens == (limit, 0, 60_000_000)
    assert lease.requests == (1, 0, 60_000_000)


async def test_what_is_larger_than_the_bucket_takes_all_of_it(limiter: Limiter) -> None:
    subjects = [key(tokens_per_minute=100)]
    await admitted(limiter, subjects, 5000)
    assert (await refused(limiter, subjects, 1)).wait == 600_000


@pytest.mark.parametrize(
    ("limits", "tokens"),
    [({"requests_per_minute": 3}, 0), ({"tokens_per_minute": 30}, 10), ({"tokens_per_day": 30}, 10)],
)
async def test_the_wait_is_exact(
    limiter: Limiter, settled: Settled, clock: FakeClock, limits: dict[str, int], tokens: int
) -> None:
    subjects = [key(**limits)]
    for _ in range(3):
        (await admitted(limiter, subjects, tokens)).settle(tokens)
    await settled()
    refusal = await refused(limiter, subjects, tokens)
    assert refusal.limit == next(iter(limits))
    clock.now += refusal.wait - 1
    assert (await refused(limiter, subjects, tokens)).wait == 1
    clock.now += 1
    await admitted(limiter, subjects, tokens)


async def test_the_longest_wait_is_told(limiter: Limiter) -> None:
    mine, whole = key(requests_per_minute=60), tenant(requests_per_minute=1, tokens_per_minute=1)
    await admitted(limiter, [mine, whole], 1)
    refusal = await refused(limiter, [mine, whole], 1)
    assert (refusal.subject, refusal.wait) == (whole, 60_000_000)


async def test_who_is_refused_by_the_tenant_keeps_what_the_key_has(limiter: Limiter) -> None:
    mine, whole = key(requests_per_minute=10, tokens_per_minute=100, concurrency=10), tenant(concurrency=1)
    await admitted(limiter, [mine, whole], 10)
    for _ in range(20):
        assert (await refused(limiter, [mine, whole], 10)).subject == whole
    lease = await admitted(limiter, [mine], 10)
    assert (lease.requests, lease.tokens) == ((10, 8, 12_000_000), (100, 80, 12_000_000))


async def test_who_is_refused_for_tokens_keeps_the_request(limiter: Limiter) -> None:
    subjects = [key(requests_per_minute=10, tokens_per_minute=100)]
    await admitted(limiter, subjects, 90)
    refusal = await refused(limiter, subjects, 11)
    assert (refusal.requests, refusal.tokens) == ((10, 9, 6_000_000), (100, 10, 54_000_000))


async def test_keys_of_a_tenant_share_its_limit(limiter: Limiter) -> None:
    whole = tenant(tokens_per_minute=100)
    await admitted(limiter, [key("a", requests_per_minute=5), whole], 60)
    refusal = await refused(limiter, [key("b", requests_per_minute=5), whole], 60)
    assert refusal.subject.kind == "tenant"
    await admitted(limiter, [key("c", tokens_per_minute=60)], 60)


async def test_the_headers_tell_of_the_scarcer_one(limiter: Limiter) -> None:
    lease = await admitted(
        limiter, [key(requests_per_minute=10), tenant(requests_per_minute=60, tokens_per_minute=600)], 60
    )
    assert lease.requests == (10, 9, 6_000_000)
    assert lease.tokens == (600, 540, 6_000_000)


async def test_what_was_not_used_comes_back(limiter: Limiter, settled: Settled) -> None:
    subjects = [key(tokens_per_minute=100)]
    (await admitted(limiter, subjects, 100)).settle(30)
    await settled()
    lease = await admitted(limiter, subjects, 70)
    assert lease.tokens == (100, 0, 60_000_000)


async def test_what_flowed_back_already_does_not_come_back_twice(
    limiter: Limiter, settled: Settled, clock: FakeClock
) -> None:
    subjects = [key(tokens_per_minute=100)]
    first = await admitted(limiter, subjects, 100)
    clock.pass_seconds(30)
    await admitted(limiter, subjects, 50)
    clock.pass_seconds(30)  # without the first one: 100 - 50 + 50
    first.settle(0)
    await settled()
    lease = await admitted(limiter, subjects, 100)
    assert lease.tokens == (100, 0, 60_000_000)


async def test_what_was_used_beyond_the_reservation_is_charged(limiter: Limiter, settled: Settled) -> None:
    subjects = [key(tokens_per_minute=100)]
    (await admitted(limiter, subjects, 50)).settle(250)
    await settled()
    refusal = await refused(limiter, subjects, 10)
    assert (refusal.wait, refusal.tokens) == (96_000_000, (100, 0, 150_000_000))


async def test_a_request_that_failed_does_not_count(limiter: Limiter, settled: Settled) -> None:
    subjects = [key(requests_per_minute=1, tokens_per_minute=100, tokens_per_day=100)]
    for _ in range(3):
        (await admitted(limiter, subjects, 100)).settle(0, counts=False)
        await settled()


async def test_a_slot_is_free_when_its_request_is_over(limiter: Limiter, settled: Settled) -> None:
    subjects = [key(concurrency=2)]
    first = await admitted(limiter, subjects)
    await admitted(limiter, subjects)
    refusal = await refused(limiter, subjects)
    assert (refusal.limit, refusal.wait) == ("concurrency", 1_000_000)
    first.settle(0)
    await settled()
    await admitted(limiter, subjects)
    await refused(limiter, subjects)


async def test_closed_limits_let_nothing_through(limiter: Limiter) -> None:
    assert (await refused(limiter, [make("key:k", "t", CLOSED)])).limit == "concurrency"


@pytest.mark.parametrize(("limit", "wait"), [("tokens_per_day", 12 * 3600), ("tokens_per_month", 16.5 * 86400)])
async def test_a_budget_is_for_its_window(
    limiter: Limiter, settled: Settled, clock: FakeClock, limit: str, wait: float
) -> None:
    subjects = [key(**{limit: 100})]
    (await admitted(limiter, subjects, 50)).settle(80)
    await settled()
    refusal = await refused(limiter, subjects, 21)
    assert (refusal.limit, refusal.wait) == (limit, wait * 1_000_000)
    (await admitted(limiter, subjects, 20)).settle(20)
    await settled()
    clock.pass_seconds(wait)
    await admitted(limiter, subjects, 100)


async def test_running_requests_hold_their_part_of_a_budget(limiter: Limiter, settled: Settled) -> None:
    subjects = [key(tokens_per_day=100)]
    first = await admitted(limiter, subjects, 60)
    assert (await refused(limiter, subjects, 60)).wait == 1_000_000
    first.settle(10)
    await settled()
    await admitted(limiter, subjects, 90)


async def test_other_limits_go_on_from_what_was_used(limiter: Limiter) -> None:
    await admitted(limiter, [key(tokens_per_minute=100)], 50)
    lease = await admitted(limiter, [key(tokens_per_minute=1000)], 100)
    assert lease.tokens == (1000, 400, 36_000_000)


async def test_budgets_are_restored(limiter: Limiter, clock: FakeClock) -> None:
    assert isinstance(limiter, MemoryLimiter | RedisLimiter)
    limited = key(tokens_per_day=100, tokens_per_month=1000)
    await limiter.restore([Spent(limited.name, limited.tenant, 60, 960), Spent("key:other", "other", 7, 7)])
    assert (await refused(limiter, [limited], 41)).limit in {"tokens_per_day", "tokens_per_month"}
    await admitted(limiter, [limited], 40)
    clock.pass_seconds(86_400)
    assert (await refused(limiter, [limited], 41)).limit == "tokens_per_month"


async def test_what_was_counted_here_is_not_lowered(limiter: Limiter, settled: Callable[[], Awaitable[None]]) -> None:
    assert isinstance(limiter, MemoryLimiter | RedisLimiter)
    limited = key(tokens_per_day=100)
    (await admitted(limiter, [limited], 50)).settle(50)
    await settled()
    await limiter.restore([Spent(limited.name, limited.tenant, 30, 30)])
    assert (await refused(limiter, [limited], 51)).limit == "tokens_per_day"
    await admitted(limiter, [limited], 50)

"""Any course of requests: never more than the rate and one burst, nothing held at the end, and both backends agree."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.store.limits.limiter import Lease, Limiter, Refusal
from headrace.store.limits.memory import MemoryLimiter
from headrace.store.limits.quota import Quota, Subject, make
from headrace.store.limits.redis import RedisLimiter
from tests.store.limits.conftest import FakeClock

MINUTE = 60_000_000
_RENEWAL = 20_000_000  # a lease lives for 30 s


@dataclass
class Step:
    passes: int
    """Microseconds before it."""
    tokens: int
    key: int
    ends: list[tuple[int, float, bool]]
    """Which of the running requests end then, the part of its reservation that it used, and whether it counts."""


def _quotas(least: int = 1) -> st.SearchStrategy[Quota]:
    return st.builds(
        Quota,
        requests_per_minute=st.none() | st.integers(least, 30),
        tokens_per_minute=st.none() | st.integers(least, 3000),
        concurrency=st.none() | st.integers(1, 4),
        tokens_per_day=st.none() | st.integers(1, 20_000),
        tokens_per_month=st.none() | st.integers(1, 40_000),
    )


_ends = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1.5), st.booleans()), max_size=3)
_steps = st.lists(st.builds(Step, st.integers(0, MINUTE), st.integers(0, 1000), st.integers(0, 1), _ends), max_size=40)
_QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@dataclass
class Course:
    """Runs steps on a limiter and remembers what happened."""

    limiter: Limiter
    clock: FakeClock
    subjects: list[list[Subject]]
    running: list[tuple[Lease, int, int]] = field(default_factory=list)
    admitted: list[list[int]] = field(default_factory=list)
    """Of each request that was admitted: when, its key, what it reserved or has used, whether it counts."""
    extra: list[int] = field(default_factory=list)
    """What was used beyond reservations."""
    outcomes: list[object] = field(default_factory=list)

    async def run(self, steps: list[Step]) -> None:
        for step in steps:
            self.clock.now += step.passes
            for index, part, counts in step.ends:
                if index < len(self.running):
                    await self.end(*self.running.pop(index), part, counts)
            await self.ask(step.key, step.tokens)

    async def ask(self, key: int, tokens: int) -> None:
        outcome = await self.limiter.reserve(self.subjects[key], tokens)
        if isinstance(outcome, Refusal):
            self.outcomes.append((outcome.limit, outcome.subject.name, outcome.wait, outcome.requests, outcome.tokens))
            return
        self.outcomes.append((outcome.requests, outcome.tokens))
        self.running.append((outcome, len(self.admitted), tokens))
        self.admitted.append([self.clock.now, key, tokens, 1])

    async def end(self, lease: Lease, number: int, reserved: int, part: float, counts: bool) -> None:
        used = int(reserved * part)
        lease.settle(used, counts=counts)
        while isinstance(self.limiter, RedisLimiter) and self.limiter._server._asked:
            await asyncio.sleep(0)
        self.admitted[number][2] = min(used, reserved)
        self.admitted[number][3] = int(counts)
        self.extra.append(max(0, used - reserved))


def _subjects(keys: list[Quota], whole: Quota) -> list[list[Subject]]:
    owner = make("tenant:t", "t", whole)
    return [[make(f"key:{name}", "t", quota), owner] for name, quota in enumerate(keys)]


@given(_steps, _quotas(), _quotas())
@_QUIET
async def test_never_more_than_the_rate_and_one_burst(steps: list[Step], mine: Quota, whole: Quota) -> None:
    clock = FakeClock()
    course = Course(MemoryLimiter(clock=clock), clock, _subjects([mine, mine], whole))
    for step in steps:
        await course.run([step])
        _check_rate(course, mine, 0)
        _check_rate(course, mine, 1)
        _check_rate(course, whole, None)


def _check_rate(course: Course, quota: Quota, key: int | None) -> None:
    """In every window that ends now: what was admitted, less what came back; what is larger than a bucket is one."""
    mine = [entry for entry in course.admitted if key in {None, entry[1]}]
    running = [number for _, number, _ in course.running]
    assert (
        quota.concurrency is None
        or sum(course.admitted[n][1] == key or key is None for n in running) <= quota.concurrency
    )
    for first, (began, *_) in enumerate(mine):
        minutes = 1 + (course.clock.now - began) / MINUTE
        if quota.requests_per_minute is not None:
            assert sum(entry[3] for entry in mine[first:]) <= quota.requests_per_minute * minutes
        limit = quota.tokens_per_minute
        if limit is not None:
            assert sum(min(entry[2], limit) for entry in mine[first:]) <= limit * minutes


@given(_steps, _quotas(), _quotas())
@_QUIET
async def test_nothing_is_held_when_all_is_over(steps: list[Step], mine: Quota, whole: Quota) -> None:
    clock = FakeClock()
    course = Course(MemoryLimiter(clock=clock), clock, _subjects([mine, mine], whole))
    await course.run(steps)
    for lease, number, reserved in course.running:
        await course.end(lease, number, reserved, 0.0, False)
    clock.now += 32 * 86_400_000_000 + 60_000 * MINUTE  # every window and every debt
    for subjects in course.subjects:
        most = min([quota for one in subjects if (quota := one.largest)], default=10**6)
        outcome = await course.limiter.reserve(subjects, most)
        assert not isinstance(outcome, Refusal)
        outcome.settle(0, counts=False)


@given(_steps, _quotas(), _quotas(), _quotas())
@settings(_QUIET, max_examples=60)
async def test_both_backends_decide_the_same(
    valkey: str, steps: list[Step], one: Quota, other: Quota, whole: Quota
) -> None:
    clocks = FakeClock(), FakeClock()
    redis = RedisLimiter(valkey, clock=clocks[0], timeout=20)
    try:
        await redis._server.commands.flushall()
        subjects = _subjects([one, other], whole)
        tested = Course(redis, clocks[0], subjects)
        model = Course(MemoryLimiter(clock=clocks[1]), clocks[1], subjects)
        for step in steps:
            for _ in range(step.passes // _RENEWAL):
                clocks[0].now += _RENEWAL
                await redis.renew()
            await redis.renew()
            await tested.run([replace(step, passes=step.passes % _RENEWAL)])
            await model.run([step])
            assert tested.outcomes == model.outcomes
    finally:
        await redis.close()

"""Limits in Redis or Valkey, for many processes: one script, so one atomic round trip, for all limits of a request.

A subject has a state (buckets and budgets, packed) and a sorted set of leases by expiry. Their keys carry the tenant
as the hash tag, so that a request's keys lie in one slot. The clock is the server's.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from headrace.errors import StoreError
from headrace.store.limits.budget import Budget, day, month
from headrace.store.limits.limiter import SECOND, Clock, Lease, Refusal, Spent, Standing, epoch_clock, standing
from headrace.store.limits.quota import MINUTE, Subject
from headrace.store.redis import RedisServer

_LEASE = 30 * SECOND
_MONTH = 32 * 86_400_000  # milliseconds
_CHUNK = 500  # leases that one script renews
_LIMITS = ("", "requests_per_minute", "tokens_per_minute", "concurrency", "tokens_per_day", "tokens_per_month")
_NAMESPACE = "headrace:limits:1"  # of this form of the states

_log = logging.getLogger(__name__)

Script = Callable[..., Awaitable[Any]]


class RedisLimiter:
    """A ``Limiter`` whose ``reserve`` raises StoreError where the server does not answer."""

    def __init__(self, url: str, *, timeout: float = 0.5, clock: Clock | None = None) -> None:
        """``timeout`` (seconds) is for a connection and an answer each; with a ``clock``, the server's is not used.

        Nothing is connected yet. Raises ConfigError for a URL that cannot be used.
        """
        self._server = RedisServer(url, timeout)
        self._server_clock = clock is None
        self._clock = clock or epoch_clock()
        self._reserve = self._script("reserve")
        self._settle = self._script("settle")
        self._renew = self._script("renew")
        self._register = self._script("register")
        self._budgets = self._script("budgets")
        self._name = secrets.token_hex(8)
        self._count = 0
        self._open: dict[str, RedisLease] = {}
        self._owed: dict[str, _Owed] = {}
        self.data = ""
        """The name of the server's data, as ``renew`` last saw it: another one means that they were lost."""

    async def reserve(self, subjects: Sequence[Subject], tokens: int) -> Lease | Refusal:
        self._count += 1
        lease = RedisLease(self, subjects, tokens, f"{self._name}{self._count:x}:{tokens}")
        asking = self._server.send(self._ask(lease))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(_give_back)  # the server may have admitted it by now
            raise

    async def renew(self) -> int:
        """Keep the leases of running requests, and this process counted; call it every 10 s at least.

        Returns how many processes share the limits. Raises StoreError.
        """
        by_key: dict[str, list[str]] = {}
        for member, lease in self._open.items():
            for subject in lease.subjects:
                by_key.setdefault(_keys(subject)[1], []).append(member)
        ask = self._server.ask
        for key, members in by_key.items():
            for start in range(0, len(members), _CHUNK):
                await ask(self._renew([key], [self._now(), _LEASE, *members[start : start + _CHUNK]]))
        keys = [f"{_NAMESPACE}:processes", f"{{{_NAMESPACE}:processes}}:data"]  # in one slot
        processes, data = await ask(self._register(keys, [self._now(), _LEASE, self._name]))
        self.data = data.decode()
        return int(processes)

    def owe(self, subjects: Sequence[Subject], tokens: int) -> None:
        """Remember what was used while the server was away."""
        now = self._clock()
        for subject in subjects:
            if subject.quota.tokens_per_day is not None or subject.quota.tokens_per_month is not None:
                owed = self._owed.get(subject.name)
                if owed is None:
                    owed = self._owed[subject.name] = _Owed(subject)
                owed.days.charge(now, tokens)
                owed.months.charge(now, tokens)

    def forgive(self) -> None:
        """What is owed is known from elsewhere."""
        self._owed.clear()

    async def pay(self) -> None:
        """Add what is owed to the budgets of its day and month. Raises StoreError; what was added is owed no more."""
        now = self._clock()
        for name, owed in list(self._owed.items()):
            owed.days.enter(now)
            owed.months.enter(now)
            await self._change(owed.subject.name, owed.subject.tenant, owed.days.used, owed.months.used, "+")
            del self._owed[name]

    async def restore(self, spent: Sequence[Spent]) -> None:
        """Raise the budgets to what the ledger knows. Raises StoreError."""
        for one in spent:
            await self._change(one.subject, one.tenant, one.day, one.month, ">")

    async def _change(self, name: str, tenant: str, day_tokens: int, month_tokens: int, how: str) -> None:
        args = [self._now(), *month(self._clock()), _MONTH, day_tokens, month_tokens, how]
        await self._server.ask(self._budgets([_state_key(name, tenant)], args))

    async def close(self) -> None:
        """Settle what is being settled, and disconnect."""
        await self._server.close()

    def settle(self, lease: RedisLease, tokens: int, counts: bool) -> None:
        """Send it off; where that fails, the lease expires by itself."""
        if self._open.pop(lease.member, None) is None:
            return
        telling = self._server.send(self._tell(lease, tokens, counts))
        telling.add_done_callback(partial(self._settled, lease, tokens))

    def _settled(self, lease: RedisLease, tokens: int, telling: asyncio.Task[None]) -> None:
        error = None if telling.cancelled() else telling.exception()
        if isinstance(error, StoreError):
            _log.debug("a limit's lease is left to expire", extra={"reason": str(error)})
            self.owe(lease.subjects, tokens)
        elif error is not None:
            raise error

    async def _ask(self, lease: RedisLease) -> Lease | Refusal:
        subjects = lease.subjects
        window = month(self._clock())
        args: list[Any] = [self._now(), lease.member, lease.reserved, _LEASE, *window, _kept(subjects)]
        for subject in subjects:
            quota = subject.quota
            args += (
                subject.request_cost or -1,
                subject.reserve_cost(lease.reserved) if subject.token_limit else -1,
                *(-1 if n is None else n for n in (quota.concurrency, quota.tokens_per_day, quota.tokens_per_month)),
            )
        refuser, limit, wait, *numbers = await self._reserve(_all_keys(subjects), args)
        requests, left = _standings(subjects, numbers)
        if refuser:
            return Refusal(subjects[refuser - 1], _LIMITS[limit], wait, requests, left)
        lease.admitted(numbers[::3], requests, left)
        self._open[lease.member] = lease
        return lease

    async def _tell(self, lease: RedisLease, tokens: int, counts: bool) -> None:
        subjects = lease.subjects
        args: list[Any] = [self._now(), lease.member, lease.reserved, tokens, *month(self._clock()), _kept(subjects)]
        for subject, number in zip(subjects, lease.numbers, strict=True):
            excess = subject.token_cost(tokens) - subject.reserve_cost(lease.reserved) if subject.token_limit else 0
            args += (number, 0 if counts else subject.request_cost, excess)
        await self._settle(_all_keys(subjects), args)

    def _now(self) -> str | int:
        return "" if self._server_clock else self._clock()

    def _script(self, name: str) -> Script:
        folder = Path(__file__).with_name("lua")
        text = "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("common", name))
        return self._server.commands.register_script(text)


class _Owed:
    """Tokens that a subject used while nobody could be told."""

    __slots__ = ("days", "months", "subject")

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.days = Budget(day)
        self.months = Budget(month)


class RedisLease:
    """A ``Lease``: it expires unless it is renewed, so that a crash leaks nothing."""

    __slots__ = ("_limiter", "member", "numbers", "requests", "reserved", "subjects", "tokens")

    def __init__(self, limiter: RedisLimiter, subjects: Sequence[Subject], reserved: int, member: str) -> None:
        self._limiter = limiter
        self.subjects = subjects
        self.reserved = reserved
        self.member = member
        self.numbers: Sequence[int] = ()
        self.requests: Standing | None = None
        self.tokens: Standing | None = None

    def admitted(self, numbers: Sequence[int], requests: Standing | None, tokens: Standing | None) -> None:
        self.numbers, self.requests, self.tokens = numbers, requests, tokens

    def settle(self, tokens: int, *, counts: bool = True) -> None:
        self._limiter.settle(self, tokens, counts)


def _give_back(asking: asyncio.Future[Lease | Refusal]) -> None:
    """Settle what was reserved for a request that is gone."""
    if asking.cancelled() or asking.exception() is not None:
        return
    outcome = asking.result()
    if not isinstance(outcome, Refusal):
        outcome.settle(0)


def _keys(subject: Subject) -> tuple[str, str]:
    """Of the state and of the leases."""
    state = _state_key(subject.name, subject.tenant)
    return state, f"{state}:leases"


def _state_key(name: str, tenant: str) -> str:
    return f"{_NAMESPACE}:{{{tenant}}}:{name}"


def _all_keys(subjects: Sequence[Subject]) -> list[str]:
    return [key for subject in subjects for key in _keys(subject)]


def _kept(subjects: Sequence[Subject]) -> int:
    """Milliseconds for which an unused state is kept: until its longest limit has forgotten it."""
    if any(subject.quota.tokens_per_month is not None for subject in subjects):
        return _MONTH
    return (
        2 * 86_400_000 if any(subject.quota.tokens_per_day is not None for subject in subjects) else 2 * MINUTE // 1000
    )


def _standings(subjects: Sequence[Subject], numbers: Sequence[int]) -> tuple[Standing | None, Standing | None]:
    requests = tokens = None
    for subject, request_backlog, token_backlog in zip(subjects, numbers[1::3], numbers[2::3], strict=True):
        if subject.request_limit:
            requests = standing(requests, subject.request_limit, request_backlog)
        if subject.token_limit:
            tokens = standing(tokens, subject.token_limit, token_backlog)
    return requests, tokens

"""Limits that hold over all processes as long as Redis answers, and in local shares while it does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.errors import StoreError
from headrace.store.limits.limiter import Lease, Refusal, Spent, Standing
from headrace.store.limits.memory import MemoryLimiter
from headrace.store.limits.quota import Subject

if TYPE_CHECKING:
    from headrace.store.limits.redis import RedisLimiter

_RENEWAL_SECONDS = 5.0
_PROBE_SECONDS = 1.0

_log = logging.getLogger(__name__)


class SharedLimiter:
    """A ``LimiterService``. A share is a limit divided by the processes that were there when Redis last answered."""

    def __init__(
        self, redis: RedisLimiter, *, processes: int, renewal: float = _RENEWAL_SECONDS, probe: float = _PROBE_SECONDS
    ) -> None:
        """``processes`` counts until Redis knows better. ``renewal`` and ``probe`` are seconds between two looks."""
        self.fallback = False
        self._redis = redis
        self._local = MemoryLimiter(share=processes)
        self._processes = processes
        self._renewal = renewal
        self._probe = probe
        self._data: str | None = None

    @property
    def lost(self) -> bool:
        """Redis answers, but these data are not the ones that the budgets were last brought up to date in."""
        return not self.fallback and bool(self._redis.data) and self._redis.data != self._data

    async def restore(self, spent: Sequence[Spent]) -> None:
        data = self._redis.data
        self._redis.forgive()  # the ledger has that, too
        await self._redis.restore(spent)
        self._data = data

    async def reserve(self, subjects: Sequence[Subject], tokens: int) -> Lease | Refusal:
        if not self.fallback:
            try:
                return await self._redis.reserve(subjects, tokens)
            except StoreError as error:
                self._fall_back(error)
        outcome = await self._local.reserve(subjects, tokens)
        return outcome if isinstance(outcome, Refusal) else _LocalLease(outcome, self._redis, subjects)

    async def run(self) -> None:
        """Keep the leases of running requests, and find out when Redis is back."""
        while True:
            try:
                self._processes = await self._redis.renew()
                if self._redis.data == self._data:
                    await self._redis.pay()
            except StoreError as error:
                self._fall_back(error)
            else:
                if self.fallback:
                    _log.info("redis answers: limits hold over all processes again")
                self.fallback = False
            await asyncio.sleep(self._probe if self.fallback else self._renewal)

    async def close(self) -> None:
        await self._redis.close()

    def _fall_back(self, error: StoreError) -> None:
        if self.fallback:
            return
        self.fallback = True
        _log.warning("limits go on in local shares", extra={"shares": self._processes, "reason": str(error)})
        if self._local.share != self._processes:
            self._local = MemoryLimiter(share=self._processes)


class _LocalLease:
    """A lease of an outage: what it used is told to Redis later."""

    __slots__ = ("_lease", "_redis", "_subjects")

    def __init__(self, lease: Lease, redis: RedisLimiter, subjects: Sequence[Subject]) -> None:
        self._lease = lease
        self._redis = redis
        self._subjects = subjects

    @property
    def requests(self) -> Standing | None:
        return self._lease.requests

    @property
    def tokens(self) -> Standing | None:
        return self._lease.tokens

    def settle(self, tokens: int, *, counts: bool = True) -> None:
        self._lease.settle(tokens, counts=counts)
        self._redis.owe(self._subjects, tokens)

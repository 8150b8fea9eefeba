"""Fairness between tenants: the virtual token counter of Sheng et al., "Fairness in Serving Large Language Models",
OSDI 2024 (algorithm 2), with work counted when a request is dispatched.

Each tenant has a counter of the work that it was served. Of the tenants that wait, the one with the lowest counter is
next. One that comes back after a pause is lifted to the lowest counter of those that wait (or, where nobody waits, to
the counter of the tenant that was served last): a pause earns no credit. So two tenants that both keep the queue filled
get the same work, whatever the number and size of their requests, up to the size of one request.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_KEPT = 4096
"""Counters of tenants that do not wait; what is dropped is lifted when it comes back."""


class FairQueue(Generic[T]):
    """What waits, by tenant. ``push``, ``remove``, ``take`` and ``charge`` cost O(log tenants)."""

    def __init__(self) -> None:
        self._lines: dict[bytes, OrderedDict[T, None]] = {}
        self._counters: dict[bytes, float] = {}
        self._order: list[tuple[float, bytes]] = []
        """A heap; an entry whose counter is not the tenant's any more is stale."""
        self._served = 0.0
        """The counter of the tenant that was served last."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def tenants(self) -> int:
        """How many of them wait."""
        return len(self._lines)

    def waiting(self, tenant: bytes) -> int:
        return len(self._lines.get(tenant, ()))

    def push(self, tenant: bytes, item: T) -> None:
        line = self._lines.get(tenant)
        if line is None:
            counter = self._lift(tenant)
            line = self._lines[tenant] = OrderedDict()
            if len(self._order) > 2 * len(self._lines) + 64:
                self._order = [(self._counters[name], name) for name in self._lines if name != tenant]
                heapq.heapify(self._order)
            heapq.heappush(self._order, (counter, tenant))
        line[item] = None
        self._size += 1

    def remove(self, tenant: bytes, item: T) -> bool:
        """Take ``item`` out, wherever it stands. False if it is not there."""
        line = self._lines.get(tenant)
        if line is None or item not in line:
            return False
        del line[item]
        self._size -= 1
        if not line:
            del self._lines[tenant]
        return True

    def head(self) -> T:
        """The first of the tenant that was served least. The queue must not be empty."""
        order = self._order
        while True:
            counter, tenant = order[0]
            if tenant in self._lines and self._counters[tenant] == counter:
                return next(iter(self._lines[tenant]))
            heapq.heappop(order)

    def heads(self, limit: int) -> Iterator[T]:
        """The first of each of the ``limit`` tenants that were served least, in that order."""
        first = self.head()
        yield first
        tenants = heapq.nsmallest(limit, self._lines, key=self._counters.__getitem__)
        for item in [next(iter(self._lines[tenant])) for tenant in tenants]:
            if item is not first:
                yield item

    def surplus(self, tenant: bytes) -> T | None:
        """The last of the tenant with the most in the queue, if that is more than ``tenant`` would have with one more.

        Costs O(tenants): for a queue that is full.
        """
        if not self._lines:
            return None
        longest = max(self._lines.values(), key=len)
        return next(reversed(longest)) if len(longest) > self.waiting(tenant) + 1 else None

    def charge(self, tenant: bytes, work: float) -> None:
        """``tenant`` is served ``work``, whether or not it had waited."""
        counters = self._counters
        counter = counters.get(tenant, 0.0)
        if tenant in self._lines:
            heapq.heappush(self._order, (counter + work, tenant))
        else:
            floor = self._floor() if self._lines else self._served
            counter = max(counter, floor)
        self._served = counters[tenant] = counter + work
        if len(counters) > _KEPT:
            self._drop()

    def counter(self, tenant: bytes) -> float:
        """The work that it was served, since it was last lifted and before; 0 where it is not known."""
        return self._counters.get(tenant, 0.0)

    def _lift(self, tenant: bytes) -> float:
        counter = max(self._counters.get(tenant, 0.0), self._floor())
        self._counters[tenant] = counter
        return counter

    def _floor(self) -> float:
        if not self._lines:
            return self._served
        self.head()  # drops what is stale
        return self._order[0][0]

    def _drop(self) -> None:
        """Forget the idle tenants that would be lifted anyway, or else the half that was served least."""
        floor = self._floor()
        idle = [tenant for tenant in self._counters if tenant not in self._lines]
        below = [tenant for tenant in idle if self._counters[tenant] <= floor]
        for tenant in below or heapq.nsmallest(len(idle) // 2, idle, key=self._counters.__getitem__):
            del self._counters[tenant]

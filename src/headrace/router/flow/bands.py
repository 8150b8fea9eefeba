"""Priorities: ten bands, 0 first, and what keeps the others from starving.

While requests of several bands wait, the first of them is served, but each lower band that waits keeps 5 % of the work
that is handed out: its credit grows by 5 % of every request that goes, and as soon as that pays for its own next
request, this one goes. So under endless load of band 0 the lowest band still moves, and so does one in between, which
would otherwise be worse off than the lowest. Inside a band tenants are served fairly (``fair``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from headrace.router.flow.fair import FairQueue

BANDS = 10
SHARE = 0.05


class Place(Protocol):
    """What stands in the queue."""

    @property
    def band(self) -> int: ...

    @property
    def tenant(self) -> bytes: ...

    @property
    def work(self) -> int:
        """Estimated tokens."""


P = TypeVar("P", bound=Place)


class Bands(Generic[P]):
    """Who waits, and who is next."""

    def __init__(self) -> None:
        self._bands: list[FairQueue[P]] = [FairQueue() for _ in range(BANDS)]
        self._credit = [0.0] * BANDS
        self.size = 0
        """Who waits, in all bands."""

    def __len__(self) -> int:
        return self.size

    def depths(self) -> list[int]:
        """How many wait in each band."""
        return [len(band) for band in self._bands]

    def push(self, place: P) -> None:
        self._bands[place.band].push(place.tenant, place)
        self.size += 1

    def remove(self, place: P) -> bool:
        """It waits no longer and was not served. False if it is not there."""
        if not self._bands[place.band].remove(place.tenant, place):
            return False
        self.size -= 1
        if not self._bands[place.band]:
            self._credit[place.band] = 0.0
        return True

    def next(self, limit: int) -> Iterator[P]:
        """Who is next; then others, ``limit`` in all, that may go where that one cannot."""
        waiting = [band for band in range(BANDS) if self._bands[band]]
        due = [band for band in reversed(waiting[1:]) if self._credit[band] >= self._bands[band].head().work]
        for band in dict.fromkeys(due + waiting):
            for place in self._bands[band].heads(limit):
                yield place
                limit -= 1
                if limit <= 0:
                    return

    def take(self, place: P) -> None:
        """It goes to a worker: its tenant was served, and the lower bands are owed their share."""
        first = True
        for band, queue in enumerate(self._bands):
            if queue:
                if not first:
                    self._credit[band] += SHARE * place.work
                    if band == place.band:
                        self._credit[band] -= place.work
                first = False
        self._credit[place.band] = max(0.0, self._credit[place.band])
        self._bands[place.band].charge(place.tenant, place.work)
        self.remove(place)

    def surplus(self, band: int, tenant: bytes) -> P | None:
        """Who gives up its place in a full queue for one more of ``tenant``: as ``FairQueue.surplus``."""
        return self._bands[band].surplus(tenant)

    def charge(self, band: int, tenant: bytes, work: int) -> None:
        """A request of ``tenant`` went to a worker without a wait."""
        self._bands[band].charge(tenant, work)

    def ahead(self, band: int, tenant: bytes) -> int:
        """How many would be served before a new request of ``tenant``, about."""
        own = self._bands[band]
        mine = own.waiting(tenant)
        others = own.tenants() - (mine > 0)
        return sum(len(queue) for queue in self._bands[:band]) + min(len(own), mine + (mine + 1) * others)

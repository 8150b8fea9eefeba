"""The interface of the backends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from headrace.store.limits.quota import MINUTE, Subject

Clock = Callable[[], int]
"""Microseconds since 1970."""

SECOND = 1_000_000
SLOT_WAIT = SECOND
"""What a request is told to wait for something that another one still holds: nobody knows how long that takes."""

Standing = tuple[int, int, int]
"""How a bucket per minute stands: its limit, what is left of it, and the microseconds until it is full again."""


def standing(known: Standing | None, limit: int, backlog: int) -> Standing:
    """``known``, or that of the bucket with this backlog (microseconds) if less is left of it."""
    if backlog <= 0:
        left, backlog = limit, 0
    else:
        left = (MINUTE - backlog) * limit // MINUTE if backlog < MINUTE else 0
    return known if known is not None and known[1] <= left else (limit, left, backlog)


class Lease(Protocol):
    """What a request holds from its admission on."""

    @property
    def requests(self) -> Standing | None:
        """Requests per minute, after this one; None where they are not limited."""

    @property
    def tokens(self) -> Standing | None:
        """The same for tokens."""

    def settle(self, tokens: int, *, counts: bool = True) -> None:
        """End it, exactly once: ``tokens`` were really used; ``counts``: the request counts as one.

        Never blocks and never fails.
        """


@dataclass(slots=True)
class Refusal:
    """Why a request is not admitted: the limit that it would have to wait for the longest."""

    subject: Subject
    limit: str
    """The name in ``Quota``."""
    wait: int
    """Microseconds."""
    requests: Standing | None
    tokens: Standing | None


class Spent(Struct, frozen=True, gc=False):
    """Tokens that one key or tenant used of its budgets, in the current day and month."""

    subject: str
    """``Subject.name``."""
    tenant: str
    day: int
    month: int


class Limiter(Protocol):
    """Counts for all limits of a request at once: all of them admit it, or nothing is taken from any."""

    async def reserve(self, subjects: Sequence[Subject], tokens: int) -> Lease | Refusal:
        """Admit one request with this many tokens. What is more than a whole bucket takes the whole bucket."""


class LimiterService(Limiter, Protocol):
    """A ``Limiter`` with what has to go on beside the requests."""

    async def restore(self, spent: Sequence[Spent]) -> None:
        """Go on with the budgets as the ledger knows them; where more was counted here, that stays.

        Raises StoreError.
        """

    @property
    def lost(self) -> bool:
        """Whether budgets were forgotten, so that ``restore`` is needed."""

    async def run(self) -> None:
        """Keep what runs alive, until it is cancelled."""

    async def close(self) -> None:
        """After the last request is settled."""

    @property
    def fallback(self) -> bool:
        """Whether limits do not hold over all processes just now."""


def epoch_clock() -> Clock:
    """A clock that is set once and then goes on evenly, whatever happens to the machine's."""
    offset = time.time_ns() - time.monotonic_ns()
    monotonic = time.monotonic_ns
    return lambda: (monotonic() + offset) // 1000

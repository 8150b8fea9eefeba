"""Tokens per day and per month of UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from headrace.store.limits.limiter import SECOND, SLOT_WAIT

_DAY = 86_400 * SECOND


class Window(NamedTuple):
    """One day or month; ``start`` and ``end`` are microseconds since 1970."""

    number: int
    """Grows by one from each to the next."""
    start: int
    end: int


def day(now: int) -> Window:
    number = now // _DAY
    return Window(number, number * _DAY, (number + 1) * _DAY)


def month(now: int) -> Window:
    date = datetime.fromtimestamp(now // SECOND, UTC)
    number = date.year * 12 + date.month - 1
    return Window(number, _first(number), _first(number + 1))


class Budget:
    """The tokens that were used in the current window."""

    __slots__ = ("_at", "_window", "used")

    def __init__(self, at: Callable[[int], Window]) -> None:
        self.used = 0
        self._at = at
        self._window = Window(0, 0, 0)

    def wait(self, now: int, tokens: int, held: int, limit: int) -> int:
        """Microseconds until ``tokens`` fit; ``held`` are those that running requests have reserved."""
        self.enter(now)
        tokens = min(tokens, limit)
        if self.used + held + tokens <= limit:
            return 0
        return self._window.end - now if self.used + tokens > limit else SLOT_WAIT

    def charge(self, now: int, tokens: int) -> None:
        self.enter(now)
        self.used += tokens

    def raise_to(self, now: int, at: int, tokens: int) -> None:
        """At ``at`` so many had been used of the window then, by all that is known; more stays more."""
        self.enter(now)
        if self._at(at).number == self._window.number:
            self.used = max(self.used, tokens)

    def enter(self, now: int) -> None:
        """Begin anew where the window is over."""
        if now >= self._window.end:
            self.used, self._window = 0, self._at(now)


def _first(number: int) -> int:
    """The beginning of a month."""
    return int(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp()) * SECOND

"""How many attempts the requests of a pool may cost together."""

from __future__ import annotations

_SHARE = 0.2
"""Second attempts for each request: what fails everywhere must not become a multiple of the load."""
_FLOOR = 10.0
"""And so many a second, for pools with little traffic."""
_MOST = 100.0


class RetryBudget:
    """A bucket of retries, filled by requests and by time.

    After Finagle's retry budgets (twitter.github.io/finagle/guide/Clients.html#retries). It covers refusals and
    connections that fail. The requests that a worker had when it was lost are outside: they are as many as it had.
    """

    __slots__ = ("_left", "_seen")

    def __init__(self, now: float) -> None:
        self._left = _MOST
        self._seen = now

    def deposit(self) -> None:
        """A request came."""
        self._left += _SHARE

    def withdraw(self, now: float) -> bool:
        """Whether there is one left; it is taken."""
        self._left = min(_MOST, self._left + (now - self._seen) * _FLOOR)
        self._seen = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

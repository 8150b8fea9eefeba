"""How quickly a pool finishes requests, for an honest Retry-After."""

from __future__ import annotations

import math

_WINDOW = 30.0
LEAST, MOST = 1.0, 60.0
_UNKNOWN = 5.0
_SURE = 4.0
"""Requests that must have been finished lately before somebody is refused because of the rate."""


class DrainRate:
    """Requests finished per second of work, exponentially weighted over the last half minute of it.

    Only time in which the pool had work counts: after an idle hour it is no slower than before.
    """

    def __init__(self) -> None:
        self._finished = 0.0
        self._seconds = 0.0
        """Weighted like ``_finished``, so that a short past is not taken for a slow one."""
        self._at = 0.0

    def resume(self, now: float) -> None:
        """There is work again after a time without."""
        self._at = now

    def record(self, now: float) -> None:
        """One request was finished."""
        kept = math.exp((self._at - now) / _WINDOW)
        self._finished = self._finished * kept + 1.0
        self._seconds = self._seconds * kept + _WINDOW * (1.0 - kept)
        self._at = now

    def rate(self, now: float) -> float:
        kept = math.exp((self._at - now) / _WINDOW)
        seconds = self._seconds * kept + _WINDOW * (1.0 - kept)
        return self._finished * kept / seconds if seconds > 0 else 0.0

    def wait(self, ahead: int, now: float) -> float:
        """Seconds until ``ahead`` requests and one more are through; 0 where too few were seen to tell."""
        if self._finished < _SURE:
            return 0.0
        rate = self.rate(now)
        return (ahead + 1) / rate if rate > 0 else 0.0

    def retry_after(self, waiting: int, now: float) -> float:
        """Seconds until ``waiting`` requests and one more are through, between 1 and 60."""
        rate = self.rate(now)
        return min(MOST, max(LEAST, (waiting + 1) / rate)) if rate > 0 else _UNKNOWN

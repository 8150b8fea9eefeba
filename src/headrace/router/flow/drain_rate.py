"""How quickly a pool finishes requests, for an honest Retry-After."""

from __future__ import annotations

import math

_WINDOW = 30.0
LEAST, MOST = 1.0, 60.0


class DrainRate:
    """Requests finished per second, exponentially weighted over the last half minute."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._at = 0.0

    def record(self, now: float) -> None:
        """One request was finished."""
        self._weight = self._weight * math.exp((self._at - now) / _WINDOW) + 1.0
        self._at = now

    def rate(self, now: float) -> float:
        return self._weight * math.exp((self._at - now) / _WINDOW) / _WINDOW

    def retry_after(self, waiting: int, now: float) -> float:
        """Seconds until ``waiting`` requests and one more are through, between 1 and 60."""
        rate = self.rate(now)
        return min(MOST, max(LEAST, (waiting + 1) / rate)) if rate > 0 else MOST / 12

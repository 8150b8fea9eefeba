"""Virtual time: what happens next, and when."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Timeline:
    """Calls what is due in the order of its times; of equal times, in the order in which it was asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def clock(self) -> float:
        """The seam that the router reads its time from."""
        return self.now

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        """Call ``call`` at that time, or at once if it is past."""
        heapq.heappush(self._due, (max(seconds, self.now), next(self._numbers), call))

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self.at(self.now + seconds, call)

    def run(self, until: float) -> None:
        """Up to and with ``until``."""
        while self._due and self._due[0][0] <= until:
            self.now, _, call = heapq.heappop(self._due)
            call()
        self.now = max(self.now, until)

"""One continuous bucket: the generic cell rate algorithm, with refunds that are exact.

GCRA keeps one number, the theoretical arrival time (TAT): when the bucket will be full again (ITU-T I.371, annex A).
Time is in microseconds, and a cost is the time in which it flows back. The burst is one minute.

A refund cannot simply lower the TAT: what was reserved has been flowing back since, and a bucket that became full
meanwhile would be credited twice. By Lindley's recursion TAT = max(TAT, now) + cost, taking ``cost`` out of an earlier
step lowers today's TAT by the least backlog that any step since met, if that is less. The bucket keeps those minima.
"""

from __future__ import annotations

from bisect import bisect_right

from headrace.store.limits.quota import MINUTE

MINIMA = 32
"""Minima that are remembered at most; beyond that the oldest reservations may get back less than they could."""


class Bucket:
    """``number`` counts the steps, from 1: a later one has a higher number."""

    __slots__ = ("_full", "_lows", "_steps", "tat")

    def __init__(self) -> None:
        self.tat = 0
        self._full = 0
        """The last step that found it full: what came before has flowed back."""
        # The step since then that met the least backlog, that which met the least after it, and so on; both ascend.
        self._steps: list[int] = []
        self._lows: list[int] = []

    def wait(self, now: int, cost: int) -> int:
        """Microseconds until ``cost`` fits; 0 or less: it fits now."""
        return max(0, self.tat - now) + cost - MINUTE

    def admit(self, now: int, number: int, cost: int) -> bool:
        """Take out ``cost``, which is at most a minute, if it fits."""
        if self.tat > now and self.tat - now + cost > MINUTE:
            return False
        self.take(now, number, cost)
        return True

    def take(self, now: int, number: int, cost: int) -> None:
        """Take out ``cost``, whether it fits or not."""
        backlog = self.tat - now
        if backlog > 0:
            self.tat += cost
            self._remember(number, backlog)
        else:
            self.tat = now + cost
            self._full = number
            if self._steps:
                self._steps, self._lows = [], []

    def refund(self, number: int, cost: int) -> None:
        """Give back ``cost`` of what step ``number`` took: as if it had never been taken."""
        if self._full > number:
            return
        if self._steps and self._steps[-1] > number:
            cost = self._lower(number, cost)
        self.tat -= cost

    def _remember(self, number: int, backlog: int) -> None:
        steps, lows = self._steps, self._lows
        while lows and lows[-1] >= backlog:
            del lows[-1], steps[-1]
        lows.append(backlog)
        steps.append(number)
        if len(lows) > MINIMA:
            del lows[1], steps[0]

    def _lower(self, number: int, cost: int) -> int:
        """Take at most ``cost`` out of the backlogs that the steps after ``number`` met."""
        steps, lows = self._steps, self._lows
        first = bisect_right(steps, number)
        cost = min(cost, lows[first])
        for index in range(first, len(lows)):
            lows[index] -= cost
        kept = first
        while kept and lows[kept - 1] >= lows[first]:
            kept -= 1
        del lows[kept:first], steps[kept:first]
        return cost

"""Whether an engine moves while it has work."""

from __future__ import annotations

import time
from collections.abc import Callable

from headrace.workers.supervisor.engine import Look


class Movement:
    """Judges an engine by its own counters, from one look to the next.

    Some engines do not tell that their last request ended: their counts linger until the next step. So an engine that
    stands still with work is *asked* to generate a token before it is judged; where it can, and the counts then stand
    still again, they are what is stale (``settled``).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._moved = clock()
        self._last = Look()
        self._settled: tuple[int, int, int] | None = None

    def observe(self, look: Look) -> None:
        """Take in a new look."""
        if self._settled is not None and self._settled != _counts(look):
            self._settled = None
        moved = look.iterations != self._last.iterations
        self._last = look
        if moved or not self.busy:
            self._moved = self._clock()

    def answered(self, look: Look) -> None:
        """It generated a token when asked; ``look`` is from after that."""
        self.observe(look)
        self._moved = self._clock()
        self._settled = _counts(look)

    @property
    def load(self) -> Look:
        """The last look, without counts that are known to be stale."""
        last = self._last
        if self._settled is None:
            return last
        return Look(0, 0, last.iterations, 0, last.kv_total, last.block_size)

    @property
    def busy(self) -> bool:
        return self.load.busy

    def still(self) -> float:
        """Seconds since it last moved, answered or had nothing to do."""
        return self._clock() - self._moved


def _counts(look: Look) -> tuple[int, int, int]:
    return look.iterations, look.running, look.waiting

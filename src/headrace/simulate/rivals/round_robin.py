"""Round robin: each worker in its turn, whatever it has to do."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.simulate.request import Request
from headrace.simulate.routers.rival import Seen


class RoundRobin:
    """A ``Rule``."""

    def __init__(self) -> None:
        self._turn = -1

    def choose(self, request: Request, workers: Sequence[Seen]) -> Seen:
        self._turn += 1
        return workers[self._turn % len(workers)]

"""Take the candidates in turn."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.router.scheduling.scheduler import Scorer
from headrace.router.ticket import Ticket
from headrace.router.worker import Worker


class RoundRobin(Scorer):
    """Scores 1 for the candidate that was taken longest ago, 0 for the others."""

    name = "round-robin"

    def __init__(self) -> None:
        self._turn = 0
        self._last: dict[Worker, int] = {}

    def score(self, ticket: Ticket, candidates: Sequence[Worker]) -> list[float]:
        turns = [self._last.get(worker, 0) for worker in candidates]
        first = turns.index(min(turns))
        scores = [0.0] * len(candidates)
        scores[first] = 1.0
        return scores

    def placed(self, ticket: Ticket, worker: Worker) -> None:
        self._turn += 1
        self._last[worker] = self._turn

    def forget(self, worker: Worker) -> None:
        self._last.pop(worker, None)

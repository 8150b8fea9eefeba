"""Take the candidates in turn."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.router.ticket import Ticket
from headrace.router.worker import Worker


class RoundRobin:
    """Scores 1 for the candidate that was scored best longest ago, 0 for the others."""

    def __init__(self) -> None:
        self._turn = 0
        self._last: dict[str, int] = {}

    def score(self, ticket: Ticket, candidates: Sequence[Worker]) -> list[float]:
        self._turn += 1
        self._last = {worker.url: self._last.get(worker.url, 0) for worker in candidates}
        chosen = min(candidates, key=lambda worker: self._last[worker.url])
        self._last[chosen.url] = self._turn
        return [1.0 if worker is chosen else 0.0 for worker in candidates]

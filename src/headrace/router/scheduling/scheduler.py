"""Filter → score → pick, after llm-d's inference scheduler.

A profile is a list of weighted scorers. Each gives every candidate a number, the higher the better; the candidate with
the highest weighted sum takes the request, ties are broken at random so that idle workers share.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from headrace.router.ticket import Ticket
from headrace.router.worker import Worker


class Scorer(Protocol):
    """One reason to prefer a worker."""

    def score(self, ticket: Ticket, candidates: Sequence[Worker]) -> list[float]:
        """One number for each candidate, from 0 (worst) to 1 (best)."""


class Scheduler:
    """Picks one of the candidates."""

    def __init__(self, profile: Sequence[tuple[Scorer, float]], rng: random.Random) -> None:
        self._profile = profile
        self._rng = rng

    def pick(self, ticket: Ticket, candidates: Sequence[Worker]) -> Worker:
        """The best of the candidates, which must not be empty."""
        if len(candidates) == 1:
            return candidates[0]
        totals = [0.0] * len(candidates)
        for scorer, weight in self._profile:
            for index, score in enumerate(scorer.score(ticket, candidates)):
                totals[index] += weight * score
        best = max(totals)
        return self._rng.choice([worker for worker, total in zip(candidates, totals, strict=True) if total == best])

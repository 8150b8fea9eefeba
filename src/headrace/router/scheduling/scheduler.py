"""Filter → score → pick, after llm-d's inference scheduler.

Filters say which workers may take the request at all; each scorer gives every candidate a number; the best weighted sum
is picked (``best``). Where a pool has more than ``SHORTLIST`` open workers
only a sample of them is scored, and those that a scorer has a reason to like: with d random choices the most loaded
worker is exponentially better off than with one (Mitzenmacher, "The power of two choices in randomized load balancing",
2001), so beyond some dozens the rest would cost time and change nothing.

No clock, no randomness and no I/O of its own: the same code decides in virtual time.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace.router.scheduling.best import Best
from headrace.router.scheduling.decisions import Decision, Decisions
from headrace.router.scheduling.prefix_index import PrefixIndex
from headrace.router.ticket import Ticket
from headrace.router.worker import Worker

SHORTLIST = 64
_SAMPLE = 32


class Filter(Protocol):
    """A reason why a worker cannot take a request."""

    def keep(self, ticket: Ticket, candidates: Sequence[Worker], members: Collection[Worker]) -> Sequence[Worker]:
        """Those of ``candidates`` that can; ``members`` are all workers of the pool."""


class Scorer:
    """One reason to prefer a worker. Subclasses override what they need; what they do not costs nothing."""

    name: str

    def score(self, ticket: Ticket, candidates: Sequence[Worker]) -> Sequence[float]:
        """One number for each candidate, from 0 (worst) to 1 (best)."""
        raise NotImplementedError

    def favourites(self, ticket: Ticket, workers: Sequence[Worker]) -> Iterable[Worker]:
        """Workers that must be among those that are scored, of a pool with many."""
        return ()

    def placed(self, ticket: Ticket, worker: Worker) -> None:
        """The request goes to ``worker``."""

    def answered(self, worker: Worker, ticket: Ticket, seconds: float, output: int) -> None:
        """The first byte came ``seconds`` after the dispatch, or all of an answer of about ``output`` tokens."""

    def forget(self, worker: Worker) -> None:
        """It is gone, or began anew."""


@dataclass(frozen=True)
class Profile:
    """How a pool's workers are chosen."""

    name: str
    filters: Sequence[Filter]
    scorers: Sequence[tuple[Scorer, float]]


class Scheduler:
    """Chooses the worker of each request of one pool, and remembers why."""

    def __init__(self, profile: Profile, index: PrefixIndex, rng: random.Random, decisions: Decisions) -> None:
        """``index``: who has computed which prompts; shared with the profile's scorers."""
        self.profile = profile
        self.index = index
        self.decisions = decisions
        self._rng = rng
        self._picker = Best(rng)
        # The hooks that scorers really have: an empty method would cost a call on every request.
        scorers = [scorer for scorer, _ in profile.scorers]
        self._placed = [scorer.placed for scorer in scorers if type(scorer).placed is not Scorer.placed]
        self._answered = [scorer.answered for scorer in scorers if type(scorer).answered is not Scorer.answered]
        self._forget = [scorer.forget for scorer in scorers if type(scorer).forget is not Scorer.forget]
        self._favourites = [scorer.favourites for scorer in scorers]

    def keep(self, ticket: Ticket, candidates: Sequence[Worker], members: Collection[Worker]) -> Sequence[Worker]:
        """Those of the candidates that can take the request; perhaps none."""
        for filter_ in self.profile.filters:
            candidates = filter_.keep(ticket, candidates, members)
        if not candidates:
            ticket.matches = None  # what a shortlist looked up is old when it is its turn again
        return candidates

    def shortlist(self, ticket: Ticket, workers: Sequence[Worker]) -> list[Worker]:
        """Some of many workers: a sample, and whom the scorers want to see."""
        ticket.matches = self.index.match(ticket.prefix)
        chosen = dict.fromkeys(self._rng.sample(workers, min(_SAMPLE, len(workers))))
        for favourites in self._favourites:
            chosen.update(dict.fromkeys(favourites(ticket, workers)))
        return list(chosen)

    def pick(self, ticket: Ticket, candidates: Sequence[Worker], now: float) -> Worker:
        """The best of the candidates, which must not be empty. ``ticket.uncached`` tells what it has to compute."""
        index = self.index
        if ticket.matches is None:
            ticket.matches = index.match(ticket.prefix)
        matches = ticket.matches
        scores: list[Sequence[float]] = []
        totals: Sequence[float] = ()
        if len(candidates) == 1:
            worker = candidates[0]
        else:
            for scorer, weight in self.profile.scorers:
                scores.append(scorer.score(ticket, candidates))
                weighted = scores[-1] if weight == 1.0 else [weight * score for score in scores[-1]]
                totals = [a + b for a, b in zip(totals, weighted, strict=True)] if totals else weighted
            worker = candidates[self._picker.pick(ticket, totals, candidates)]
        cached = index.cached(matches, worker)
        ticket.uncached = ticket.prompt_tokens * (1.0 - cached)
        for placed in self._placed:
            placed(ticket, worker)
        index.add(ticket.prefix, worker)
        ticket.matches = None
        best = matches[0][1] if matches else 0.0
        self.decisions.add(Decision(now, ticket, candidates, scores, totals, worker, cached, best))
        return worker

    def answered(self, worker: Worker, ticket: Ticket, seconds: float, output: int) -> None:
        for answered in self._answered:
            answered(worker, ticket, seconds, output)

    def forget(self, worker: Worker) -> None:
        """Unlearn everything about it."""
        self.index.forget(worker)
        for forget in self._forget:
            forget(worker)

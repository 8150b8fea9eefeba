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
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace.router.scheduling.adapters import Adapters
from headrace.router.scheduling.best import Best
from headrace.router.scheduling.decisions import Decisions
from headrace.router.scheduling.prefix_index import PrefixIndex, cut
from headrace.router.ticket import Matches, Ticket
from headrace.router.worker import Worker

SHORTLIST = 32
_SAMPLE = 24


class Filter(Protocol):
    """A reason why a worker cannot take a request."""

    def keep(self, ticket: Ticket, candidates: Sequence[Worker], members: Collection[Worker]) -> Sequence[Worker]:
        """Those of ``candidates`` that can; ``members`` are all workers of the pool."""


class Scorer(ABC):
    """One reason to prefer a worker. Subclasses override what they need; what they do not costs nothing."""

    name: str

    @abstractmethod
    def score(self, ticket: Ticket, candidates: Sequence[Worker]) -> Sequence[float]:
        """One number for each candidate, from 0 (worst) to 1 (best)."""

    def favourites(self, ticket: Ticket, workers: Sequence[Worker]) -> Iterable[Worker]:
        """Workers that must be among those that are scored, of a pool with many."""
        return ()

    def placed(self, ticket: Ticket, worker: Worker) -> None:  # noqa: B027  a hook
        """The request goes to ``worker``. Sets ``ticket.inputs`` where ``answered`` is to be called for it."""

    def answered(self, worker: Worker, ticket: Ticket, seconds: float, output: int) -> None:  # noqa: B027  a hook
        """The first byte came ``seconds`` after the dispatch, or all of an answer of about ``output`` tokens."""

    def forget(self, worker: Worker) -> None:  # noqa: B027  a hook
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
        self._narrows = any(not isinstance(filter_, Adapters) for filter_ in profile.filters)
        self._picker = Best(rng)
        # The hooks that scorers really have: an empty method would cost a call on every request.
        scorers = [scorer for scorer, _ in profile.scorers]
        self._placed = [scorer.placed for scorer in scorers if type(scorer).placed is not Scorer.placed]
        self._answered = [scorer.answered for scorer in scorers if type(scorer).answered is not Scorer.answered]
        self.logs: Callable[[Worker, Ticket, float, int], None] | None = None
        """Is told of every answer, if set: the decision log."""
        self._forget = [scorer.forget for scorer in scorers if type(scorer).forget is not Scorer.forget]
        self._favourites = [scorer.favourites for scorer in scorers]

    def keep(self, ticket: Ticket, candidates: Sequence[Worker], members: Collection[Worker]) -> Sequence[Worker]:
        """Those of the candidates that can take the request; perhaps none."""
        if not (ticket.adapter or self._narrows):
            return candidates
        for filter_ in self.profile.filters:
            candidates = filter_.keep(ticket, candidates, members)
        if not candidates:
            ticket.matches = None  # what a shortlist looked up is old when it is its turn again
        return candidates

    def shortlist(self, ticket: Ticket, workers: Sequence[Worker]) -> list[Worker]:
        """Some of many workers: a sample, and whom the scorers want to see."""
        ticket.matches = self._match(ticket)
        chosen = dict.fromkeys(self._rng.sample(workers, min(_SAMPLE, len(workers))))
        for favourites in self._favourites:
            chosen.update(dict.fromkeys(favourites(ticket, workers)))
        return list(chosen)

    def pick(self, ticket: Ticket, candidates: Sequence[Worker], now: float) -> Worker:
        """The best of the candidates, which must not be empty; it is taken to get the request."""
        worker, scores, totals, matches = self.choose(ticket, candidates)
        cached = self.place(ticket, worker, matches)
        best = matches[0][1] if matches else 0.0
        self.decisions.add((now, ticket, candidates, scores, totals, worker, cached, best))
        return worker

    def choose(
        self, ticket: Ticket, candidates: Sequence[Worker]
    ) -> tuple[Worker, list[Sequence[float]], Sequence[float], Matches]:
        """The best of the candidates, what each scorer gave them, the sums, and who has how much of the prompt."""
        matches = ticket.matches
        if matches is None:
            matches = ticket.matches = self._match(ticket)
        scores: list[Sequence[float]] = []
        totals: Sequence[float] = ()
        worker = candidates[0]
        if len(candidates) > 1:
            for scorer, weight in self.profile.scorers:
                scores.append(scorer.score(ticket, candidates))
                weighted = scores[-1] if weight == 1.0 else [weight * score for score in scores[-1]]
                totals = [a + b for a, b in zip(totals, weighted, strict=True)] if totals else weighted
            worker = candidates[self._picker.pick(ticket, totals, candidates)]
        ticket.matches = None
        return worker, scores, totals, matches

    def place(self, ticket: Ticket, worker: Worker, matches: Matches) -> float:
        """The request goes to ``worker``. Returns the share of the prompt that it has; the rest is ``uncached``."""
        cached = self.index.cached(matches, worker) if matches else 0.0
        ticket.uncached = ticket.prompt_tokens * (1.0 - cached)
        for placed in self._placed:
            placed(ticket, worker)
        if ticket.keys:
            self.index.add(ticket.keys, worker)
        return cached

    def _match(self, ticket: Ticket) -> Matches:
        if ticket.keys is None:
            ticket.keys = cut(ticket.prefix) if ticket.prefix else []
        return self.index.match(ticket.keys) if ticket.keys else []

    def answered(self, worker: Worker, ticket: Ticket, seconds: float, output: int) -> None:
        if self.logs is not None:
            self.logs(worker, ticket, seconds, output)
        if ticket.inputs is not None:
            for answered in self._answered:
                answered(worker, ticket, seconds, output)

    def forget(self, worker: Worker) -> None:
        """Unlearn everything about it."""
        self.index.forget(worker)
        for forget in self._forget:
            forget(worker)

"""The last decisions, and why they were made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from headrace.router.ticket import Ticket
from headrace.router.worker import Worker

KEPT = 256
REASONS = ("only", "prefix", "guard", "load")
"""The one candidate; it had the most of the prompt; another one had more, but too much to do; nobody had anything."""


class Decision(NamedTuple):
    """One decision. The sequences are those that the scheduler worked with."""

    at: float
    """The pool's clock."""
    ticket: Ticket
    candidates: Sequence[Worker]
    scores: Sequence[Sequence[float]]
    """For each scorer, one for each candidate; empty where there was one candidate."""
    totals: Sequence[float]
    chosen: Worker
    cached: float
    """The share of the prompt that the chosen one had."""
    best: float
    """The largest share that any worker had."""

    @property
    def reason(self) -> str:
        return reason(len(self.candidates), self.cached, self.best)


Raw = tuple[float, Ticket, Sequence[Worker], Sequence[Sequence[float]], Sequence[float], Worker, float, float]
"""The fields of a ``Decision``; it becomes one when somebody looks, since that costs time."""


class CandidateView(msgspec.Struct):
    worker: str
    scores: dict[str, float]
    total: float


class DecisionView(msgspec.Struct):
    """A decision as ``GET /debug/decisions`` shows it."""

    pool: str
    profile: str
    request_id: str
    seconds_ago: float
    worker: str
    reason: str
    prompt_tokens: int
    cached_share: float
    best_share: float
    candidates: list[CandidateView]


class Decisions:
    """A ring of the last ones, and how many there were by reason."""

    def __init__(self, kept: int = KEPT) -> None:
        self.last: deque[Raw] = deque(maxlen=kept)
        self.counts = dict.fromkeys(REASONS, 0)
        self.prompt_tokens = 0
        """Of all requests."""
        self.cached_tokens = 0.0
        """Of these, what the chosen workers were believed to have."""
        self.logs: Callable[[Decision], None] | None = None
        """Is told of every decision, if set: the decision log."""

    def add(self, decision: Raw) -> None:
        self.last.append(decision)
        _, ticket, candidates, _, _, _, cached, best = decision
        self.counts[reason(len(candidates), cached, best)] += 1
        self.prompt_tokens += ticket.prompt_tokens
        if cached:
            self.cached_tokens += ticket.prompt_tokens * cached
        if self.logs is not None:
            self.logs(Decision(*decision))

    def view(self, now: float, pool: str, profile: str, scorers: Sequence[str]) -> list[DecisionView]:
        """The last ones, the latest first."""
        return [_view(Decision(*decision), now, pool, profile, scorers) for decision in reversed(self.last)]


def reason(candidates: int, cached: float, best: float) -> str:
    """One of ``REASONS``."""
    if candidates == 1:
        return "only"
    if cached < best:
        return "guard"
    return "prefix" if cached else "load"


def _view(decision: Decision, now: float, pool: str, profile: str, scorers: Sequence[str]) -> DecisionView:
    candidates = [
        CandidateView(
            worker.name,
            {name: round(scores[index], 4) for name, scores in zip(scorers, decision.scores, strict=False)},
            round(decision.totals[index], 4) if decision.totals else 0.0,
        )
        for index, worker in enumerate(decision.candidates)
    ]
    return DecisionView(
        pool,
        profile,
        decision.ticket.request_id.decode(errors="replace"),
        round(now - decision.at, 3),
        decision.chosen.name,
        decision.reason,
        decision.ticket.prompt_tokens,
        round(decision.cached, 4),
        round(decision.best, 4),
        candidates,
    )

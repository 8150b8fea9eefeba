"""Keep a session on one worker, unless that has too much to do.

Rendezvous hashing of ``x-headrace-session`` over the workers (Thaler & Ravishankar, 1998) with bounded loads
(``guard``): nothing is stored, all replicas agree, and a worker that leaves or joins moves only its own sessions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xxhash import xxh3_64_intdigest

from headrace.router.scheduling import guard
from headrace.router.scheduling.best import rendezvous
from headrace.router.scheduling.scheduler import Scorer
from headrace.router.ticket import Ticket
from headrace.router.worker import Worker


class SessionAffinity(Scorer):
    """Scores 1 for the session's worker, or the next one of its order that is within the guard; 0 for the others."""

    name = "session"

    def score(self, ticket: Ticket, candidates: Sequence[Worker]) -> list[float]:
        session = ticket.session
        scores = [0.0] * len(candidates)
        if session:
            allowed = [index for index, may in enumerate(guard.within(candidates)) if may] or range(len(candidates))
            scores[max(allowed, key=lambda index: xxh3_64_intdigest(session, candidates[index].seed))] = 1.0
        return scores

    def favourites(self, ticket: Ticket, workers: Sequence[Worker]) -> Iterable[Worker]:
        return [rendezvous(ticket.session, workers)] if ticket.session else ()

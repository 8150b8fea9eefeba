"""Prefer the worker that has computed the most of the prompt, unless it has too much to do.

The match is by block hashes, as in llm-d's approximate prefix scorer and in SGLang's cache-aware router, with the load
guard of ``guard``: both of those keep affinity without a bound, or drop it for all at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headrace.router.scheduling import guard
from headrace.router.scheduling.best import rendezvous
from headrace.router.scheduling.prefix_index import PrefixIndex
from headrace.router.scheduling.scheduler import Scorer
from headrace.router.ticket import Ticket
from headrace.router.worker import Worker

FAVOURITES = 8
_FIRST_BLOCK = 16


class PrefixAffinity(Scorer):
    """Scores the share of the prompt that a candidate has; 0 for one over the load guard."""

    name = "prefix"

    def __init__(self, index: PrefixIndex) -> None:
        self._index = index

    def score(self, ticket: Ticket, candidates: Sequence[Worker]) -> list[float]:
        matches = ticket.matches
        if not matches:
            return [0.0] * len(candidates)
        cached = self._index.cached
        allowed = guard.within(candidates)
        return [cached(matches, worker) if may else 0.0 for worker, may in zip(candidates, allowed, strict=True)]

    def favourites(self, ticket: Ticket, workers: Sequence[Worker]) -> Iterable[Worker]:
        return known_or_owner(self._index, ticket, workers)


def known_or_owner(index: PrefixIndex, ticket: Ticket, workers: Sequence[Worker]) -> list[Worker]:
    """Of many open workers, those that have the beginning of the prompt; where nobody has, the one to begin with."""
    if not ticket.prefix:
        return []
    if not ticket.matches:
        return [rendezvous(ticket.prefix[:_FIRST_BLOCK], workers)]
    return [worker for worker in index.holders(ticket.matches, FAVOURITES) if worker.accepts(ticket.pool)]

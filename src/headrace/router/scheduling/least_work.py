"""Prefer the worker with the fewest estimated tokens left to do, ours and the others'."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.router.ticket import Ticket
from headrace.router.worker import Worker


class LeastWork:
    """Scores 1 for the least loaded candidate, 0 for the most loaded one, linear between."""

    def score(self, ticket: Ticket, candidates: Sequence[Worker]) -> list[float]:
        work = [_work(worker) for worker in candidates]
        least, most = min(work), max(work)
        if least == most:
            return [1.0] * len(work)
        return [(most - tokens) / (most - least) for tokens in work]


def _work(worker: Worker) -> float:
    """Our own tokens, scaled up to all the requests that the worker says it has: other routers send some too."""
    if not worker.in_flight:
        return float(worker.load.queued_tokens)
    requests = max(worker.in_flight, worker.load.running + worker.load.waiting)
    return worker.work * requests / worker.in_flight

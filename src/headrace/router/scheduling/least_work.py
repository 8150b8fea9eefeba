"""Prefer the worker with the fewest estimated tokens left to do, ours and the others'.

The rule is least outstanding work, with a request's work as prompt and expected output tokens: requests differ by a
factor of a thousand, so that counting them (least request) says little.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.router.scheduling.scheduler import Scorer
from headrace.router.ticket import Ticket
from headrace.router.worker import Worker


class LeastWork(Scorer):
    """Scores 1 for the least loaded candidate, 0 for the most loaded one, linear between."""

    name = "least-work"

    def score(self, ticket: Ticket, candidates: Sequence[Worker]) -> list[float]:
        work = [_work(worker) for worker in candidates]
        least, most = min(work), max(work)
        if least == most:
            return [1.0] * len(work)
        span = most - least
        return [(most - tokens) / span for tokens in work]


def _work(worker: Worker) -> float:
    """Our own tokens, scaled up to all the requests that the worker says it has: other routers send some too."""
    in_flight = worker.in_flight
    if not in_flight:
        return float(worker.load.queued_tokens)
    return worker.work * worker.told / in_flight if worker.told > in_flight else worker.work

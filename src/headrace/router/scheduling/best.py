"""Pick the candidate with the highest score.

Those within 5 % of it are as good: estimates are not better than that. Among them rendezvous hashing of the prompt's
first block decides (Thaler & Ravishankar, "Using name-based mappings to increase hit rates", 1998), so that a beginning
that nobody has yet goes to one worker and not to several, and all replicas of the router choose the same one without
talking to each other. Where a prompt has no whole block, chance decides.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from xxhash import xxh3_64_intdigest

from headrace.router.ticket import Ticket
from headrace.router.worker import Worker

_AS_GOOD = 0.95
_FIRST_BLOCK = 16


class Best:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def pick(self, ticket: Ticket, totals: Sequence[float], candidates: Sequence[Worker]) -> int:
        """The index of the chosen one."""
        least = max(totals) * _AS_GOOD
        good = [index for index, total in enumerate(totals) if total >= least]
        if len(good) == 1:
            return good[0]
        if not ticket.prefix:
            return good[int(self._rng.random() * len(good))]
        key = ticket.prefix[:_FIRST_BLOCK]
        return max(good, key=lambda index: xxh3_64_intdigest(key, candidates[index].seed))


def rendezvous(key: bytes, workers: Sequence[Worker]) -> Worker:
    """The worker that ``key`` belongs to, for whoever knows the same workers."""
    return max(workers, key=lambda worker: xxh3_64_intdigest(key, worker.seed))

"""The load guard of everything that keeps requests together.

Consistent hashing with bounded loads (Mirrokni, Thorup & Zadimoghaddam, 2018): nobody gets more than 1.25 times its
fair share of what is in flight, here by the slots that each worker has. Without it one popular prompt melts one worker
while its neighbours idle.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.router.worker import Worker

_BOUND = 1.25


def within(candidates: Sequence[Worker]) -> list[bool]:
    """Whether each of the candidates may take one more request for affinity's sake."""
    requests = [worker.requests for worker in candidates]
    slots = [worker.load.max_running for worker in candidates]
    bound = _BOUND * (sum(requests) + 1) / sum(slots)
    return [count <= bound * size for count, size in zip(requests, slots, strict=True)]

"""Compare two of the candidates, chosen at random.

Mitzenmacher, "The power of two choices in randomized load balancing" (2001): the better of two random choices is
exponentially better balanced than one, costs the same for any number of workers, and does not herd: routers that know
the same stale loads do not all run to the same worker.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from headrace.router.ticket import Ticket
from headrace.router.worker import Worker


class TwoChoices:
    """A ``Filter``: what it keeps is compared by the profile's scorers."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def keep(self, ticket: Ticket, candidates: Sequence[Worker], members: Collection[Worker]) -> Sequence[Worker]:
        return self._rng.sample(candidates, 2) if len(candidates) > 2 else candidates

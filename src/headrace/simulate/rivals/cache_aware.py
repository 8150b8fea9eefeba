"""``cache_aware`` of sglang-router and vllm-router, with the constants of their command line: 0.3, 64, 1.5.

Where the loads are unbalanced (the most loaded worker has more than 64 requests more than the least loaded one, and
more than 1.5 times as many), the least loaded worker is taken. Else the worker whose tree matches the longest beginning
of the text, if that is more than 0.3 of it; else the least loaded one again. Loads are this router's own requests; a
tree is a router's own too. Source: ``policies/cache_aware.rs`` of both projects (sglang-router 0.3.2, vllm-router
0.1.17). Earlier versions took the worker with the smallest tree where nothing matched, which knows less.

What differs: texts are matched by blocks of 256 B instead of characters. The tree is never large enough here for its
limit (2²⁶ characters a worker) to matter.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.simulate.engine import Engine
from headrace.simulate.request import Request
from headrace.simulate.routers.rival import Seen
from headrace.simulate.text import BLOCK

CACHE_THRESHOLD = 0.3
BALANCE_ABS = 64
BALANCE_REL = 1.5


class CacheAware:
    """A ``Rule``."""

    def __init__(self) -> None:
        self._last: dict[bytes, dict[Engine, int]] = {}
        """For each beginning, the workers that got it, and when they last did."""
        self._time = 0

    def choose(self, request: Request, workers: Sequence[Seen]) -> Seen:
        loads = [worker.in_flight for worker in workers]
        most, least = max(loads), min(loads)
        chosen = None
        if not (most - least > BALANCE_ABS and most > BALANCE_REL * least):
            chosen = self._match(request, workers)
        if chosen is None:
            chosen = workers[loads.index(least)]
        self._insert(request, chosen.engine)
        return chosen

    def _match(self, request: Request, workers: Sequence[Seen]) -> Seen | None:
        """The worker that last got the longest known beginning, if that is long enough."""
        depth = 0
        engines: dict[Engine, int] = {}
        for key in request.prompt.keys:
            known = self._last.get(key)
            if known is None:
                break
            engines = known
            depth += 1
        if depth * BLOCK / request.prompt.tokens <= CACHE_THRESHOLD:
            return None
        there = {worker.engine: worker for worker in workers}
        for engine in sorted(engines, key=engines.__getitem__, reverse=True):
            if engine in there:
                return there[engine]
        return None

    def _insert(self, request: Request, engine: Engine) -> None:
        self._time += 1
        for key in request.prompt.keys:
            self._last.setdefault(key, {})[engine] = self._time

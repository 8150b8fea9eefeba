"""The default profile of llm-d's inference scheduler: queue 2, KV cache 2, prefix 3; the highest sum is picked.

- queue: 1 for the shortest queue in front of an engine, 0 for the longest, linear between (1 if all are equal);
- KV cache: what part of it is free;
- prefix: the part of the prompt's blocks that the worker is believed to have. Blocks are 64 characters (16 tokens of
  4), 256 of them at most; each worker has a least-recently-used list of 31,250.

Source: gateway-api-inference-extension and llm-d-inference-scheduler (``scorer/queue``, ``scorer/kvcacheutilization``,
``multi/prefix``, the default plugins). Requests without a negative priority are not held back where it is saturated, so
that none is here. What differs: one block of ours stands for four of theirs, in the limits too.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence

from headrace.simulate.engine import Engine
from headrace.simulate.request import Request
from headrace.simulate.routers.rival import Seen

QUEUE, KV_CACHE, PREFIX = 2.0, 2.0, 3.0
_OURS = 4
MOST_BLOCKS = 256 // _OURS
LRU = 31_250 // _OURS


class LlmD:
    """A ``Rule``."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._seen: dict[Engine, OrderedDict[bytes, None]] = {}
        self._holders: dict[bytes, set[Engine]] = {}

    def choose(self, request: Request, workers: Sequence[Seen]) -> Seen:
        keys = request.prompt.keys[:MOST_BLOCKS]
        matched = self._matched(keys)
        queues = [worker.waiting for worker in workers]
        least, most = min(queues), max(queues)
        span = most - least
        totals = []
        for worker, queue in zip(workers, queues, strict=True):
            short = (most - queue) / span if span else 1.0
            prefix = matched.get(worker.engine, 0) / len(keys) if keys else 0.0
            totals.append(QUEUE * short + KV_CACHE * (1.0 - worker.kv_usage) + PREFIX * prefix)
        best = max(totals)
        chosen = workers[self._rng.choice([index for index, total in enumerate(totals) if total == best])]
        self._remember(keys, chosen.engine)
        return chosen

    def _matched(self, keys: Sequence[bytes]) -> dict[Engine, int]:
        """How many of the blocks each worker has, from the first on."""
        found: dict[Engine, int] = {}
        for depth, key in enumerate(keys):
            holders = self._holders.get(key)
            if not holders:
                break
            for engine in holders:
                found[engine] = depth + 1
        return found

    def _remember(self, keys: Sequence[bytes], engine: Engine) -> None:
        recent = self._seen.setdefault(engine, OrderedDict())
        for key in keys:
            if key in recent:
                recent.move_to_end(key)
            else:
                recent[key] = None
                self._holders.setdefault(key, set()).add(engine)
        while len(recent) > LRU:
            old, _ = recent.popitem(last=False)
            self._holders[old].discard(engine)
            if not self._holders[old]:
                del self._holders[old]

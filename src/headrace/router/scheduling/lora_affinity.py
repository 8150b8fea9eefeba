"""Prefer workers that hold the request's LoRA adapter in memory.

After llm-d's LoRA scorer (1.0 resident, 0.8 room for one more, 0 neither): engines keep a few adapters on the GPU and
load others on demand, which stalls the batch. Which ones are resident no engine tells in its load; those that we sent
it last are, as engines drop the least recently used one too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from headrace.router.scheduling.scheduler import Scorer
from headrace.router.ticket import Ticket
from headrace.router.worker import Worker

_RESIDENT = 4
"""Adapters that an engine keeps ready, about (vLLM's ``--max-loras``)."""
_FAVOURITES = 8


class LoraAffinity(Scorer):
    """Scores 1 where the adapter is resident, 0.8 where there is room for it, 0 elsewhere; 0 without an adapter."""

    name = "lora"

    def __init__(self) -> None:
        self._resident: dict[Worker, OrderedDict[bytes, None]] = {}

    def score(self, ticket: Ticket, candidates: Sequence[Worker]) -> list[float]:
        adapter = ticket.adapter
        if not adapter:
            return [0.0] * len(candidates)
        return [self._score(adapter, self._resident.get(worker, ())) for worker in candidates]

    def favourites(self, ticket: Ticket, workers: Sequence[Worker]) -> Iterable[Worker]:
        adapter = ticket.adapter
        if not adapter:
            return ()
        holders = [worker for worker, resident in self._resident.items() if adapter in resident]
        return [worker for worker in holders if worker.accepts(ticket.pool)][:_FAVOURITES]

    def placed(self, ticket: Ticket, worker: Worker) -> None:
        adapter = ticket.adapter
        if adapter:
            resident = self._resident.setdefault(worker, OrderedDict())
            resident[adapter] = None
            resident.move_to_end(adapter)
            if len(resident) > _RESIDENT:
                resident.popitem(last=False)

    def forget(self, worker: Worker) -> None:
        self._resident.pop(worker, None)

    @staticmethod
    def _score(adapter: bytes, resident: OrderedDict[bytes, None] | tuple[()]) -> float:
        if adapter in resident:
            return 1.0
        return 0.8 if len(resident) < _RESIDENT else 0.0

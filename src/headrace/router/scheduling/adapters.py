"""Only workers that serve the request's LoRA adapter.

The workers say in ``/load`` or ``/v1/models`` which they serve. Where no worker of the pool names the adapter all of
them may try: it may be one that engines load when it is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from headrace.router.ticket import Ticket
from headrace.router.worker import Worker


class Adapters:
    """A ``Filter``."""

    def keep(self, ticket: Ticket, candidates: Sequence[Worker], members: Collection[Worker]) -> Sequence[Worker]:
        if not ticket.adapter:
            return candidates
        adapter, pool = ticket.adapter.decode(errors="replace"), ticket.pool
        kept = [worker for worker in candidates if _serves(worker, pool, adapter)]
        if not kept and not any(_serves(worker, pool, adapter) for worker in members):
            return candidates
        return kept


def _serves(worker: Worker, pool: str, adapter: str) -> bool:
    model = worker.models.get(pool)
    return model is not None and adapter in model.adapters

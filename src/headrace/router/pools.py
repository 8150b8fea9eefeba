"""``GET /pools``: what llm-api may know of the fleet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from headrace.router.flow.queue import PoolQueue
from headrace.router.worker import Worker


class WorkerView(msgspec.Struct):
    name: str
    state: str
    reason: str
    running: int
    waiting: int
    in_flight: int
    max_running: int
    kv_used: int
    kv_total: int
    epoch: str
    engine: str
    slots: int
    """Requests that this process gives it at most."""


class PoolView(msgspec.Struct):
    name: str
    adapters: list[str]
    context: int
    """Tokens of prompt and output together; 0 where no worker was seen yet."""
    modality: str
    """Empty where no worker was seen yet."""
    inputs: list[str]
    """That all workers take; empty where none was seen yet."""
    queued: int
    wait_ms: int
    """What a request that came now would wait."""
    workers: list[WorkerView]


class PoolsView(msgspec.Struct):
    pools: list[PoolView]


def describe_workers(workers: Iterable[Worker]) -> list[WorkerView]:
    """All workers, also those that serve no pool."""
    return [_worker(worker) for worker in workers]


def describe(pools: Mapping[str, PoolQueue]) -> PoolsView:
    return PoolsView([_pool(pool) for pool in pools.values()])


def _pool(pool: PoolQueue) -> PoolView:
    models = [worker.models[pool.name] for worker in pool.workers if pool.name in worker.models]
    return PoolView(
        pool.name,
        sorted({adapter for model in models for adapter in model.adapters}),
        min((model.context for model in models if model.context), default=0),
        next((model.modality for model in models), ""),
        [one for one in models[0].inputs if all(one in model.inputs for model in models)] if models else [],
        pool.waiting,
        round(pool.wait_estimate() * 1000) if any(pool.workers.values()) else 0,
        [_worker(worker) for worker in pool.workers],
    )


def _worker(worker: Worker) -> WorkerView:
    load = worker.load
    return WorkerView(
        worker.name,
        worker.state,
        worker.reason,
        load.running,
        load.waiting,
        worker.in_flight,
        load.max_running,
        load.kv_used,
        load.kv_total,
        load.epoch,
        worker.engine,
        worker.slots,
    )

"""The router's metrics (``llm_router_*``)."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.router.flow.queue import PoolQueue
from headrace.router.worker import State
from headrace.telemetry.metrics import TTFT_BUCKETS, WAIT_BUCKETS, Registry


class PoolMetrics:
    """The children of one pool that every request touches, looked up once."""

    def __init__(self, metrics: RouterMetrics, pool: str) -> None:
        self.ok = metrics.requests.labels(pool, "ok")
        self.queue_wait = metrics.queue_wait.labels(pool)
        self.first_byte = metrics.first_byte.labels(pool)


class RouterMetrics:
    def __init__(self, registry: Registry) -> None:
        self.requests = registry.counter(
            "llm_router_requests_total", "Requests by how they ended.", ["pool", "outcome"]
        )
        self.retries = registry.counter(
            "llm_router_retries_total", "Attempts beyond the first, by what ended the one before.", ["pool", "reason"]
        )
        self.broken = registry.counter(
            "llm_router_broken_streams_total", "Streams that ended with an error event.", ["pool"]
        )
        self.poisoned = registry.counter(
            "llm_router_poisoned_total", "Requests refused because workers died on them.", ["pool"]
        )
        self.queue_wait = registry.histogram(
            "llm_router_queue_wait_seconds", "Time from arrival to a worker's slot.", ["pool"], WAIT_BUCKETS
        )
        self.first_byte = registry.histogram(
            "llm_router_first_byte_seconds", "Time from dispatch to the worker's first bytes.", ["pool"], TTFT_BUCKETS
        )
        self.queue_depth = registry.gauge("llm_router_queue_depth", "Requests that wait for a worker.", ["pool"])
        self.in_flight = registry.gauge(
            "llm_router_in_flight", "Requests that workers work on for this router.", ["pool", "worker"]
        )
        self.workers = registry.gauge("llm_router_workers", "Workers by state.", ["pool", "state"], merge="max")

    def watch(self, registry: Registry, pools: Sequence[PoolQueue]) -> None:
        """Read the gauges off the pools at each scrape."""

        def collect() -> None:
            for pool in pools:
                self.queue_depth.labels(pool.name).set(pool.waiting)
                for state in State:
                    count = sum(worker.state is state for worker in pool.workers)
                    self.workers.labels(pool.name, state).set(count)
                for worker in pool.workers:
                    self.in_flight.labels(pool.name, worker.name).set(worker.in_flight)

        registry.on_collect(collect)

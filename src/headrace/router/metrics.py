"""The router's metrics (``llm_router_*``)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from headrace.router.flow.bands import BANDS
from headrace.router.flow.queue import PoolQueue
from headrace.router.resume.replay import ReplayMemory
from headrace.router.worker import Load, State, Worker
from headrace.telemetry.metrics import TTFT_BUCKETS, WAIT_BUCKETS, Histogram, Registry


class PoolMetrics:
    """The children of one pool that every request touches, looked up once."""

    def __init__(self, metrics: RouterMetrics, pool: str) -> None:
        self.ok = metrics.requests.labels(pool, "ok")
        self.dispatch = metrics.dispatch.labels(pool)
        self.first_byte = metrics.first_byte.labels(pool)
        self.unrecorded = metrics.unrecorded.labels(pool)
        for rare in (metrics.resumes, metrics.broken, metrics.poisoned):
            rare.labels(pool)  # begins at 0: of a counter that begins at 1 Prometheus cannot see the first increase
        self._pool = pool
        self._metrics = metrics
        self._waits: list[Histogram | None] = [None] * BANDS

    def waited(self, band: int, seconds: float) -> None:
        """A request of priority ``band`` got its slot after so long in the queue."""
        wait = self._waits[band]
        if wait is None:
            wait = self._waits[band] = self._metrics.queue_wait.labels(self._pool, str(band))
        wait.observe(seconds)


class RouterMetrics:
    """What requests do, counted as it happens. ``watch`` adds what is read off the pools at each scrape."""

    def __init__(self, registry: Registry) -> None:
        self.requests = registry.counter(
            "llm_router_requests_total", "Requests by how they ended.", ["pool", "outcome"]
        )
        self.retries = registry.counter(
            "llm_router_retries_total", "Attempts beyond the first, by what ended the one before.", ["pool", "reason"]
        )
        self.cancellations = registry.counter(
            "llm_router_cancellations_total",
            "Requests whose client left or took nothing for too long, by how far they were.",
            ["pool", "stage"],
        )
        self.poisoned = registry.counter(
            "llm_router_poisoned_total", "Requests refused because workers died on them.", ["pool"]
        )
        self.probes = registry.counter(
            "llm_router_probes_total", "Requests to suspect and quarantined workers.", ["pool", "verdict"]
        )
        self.queue_wait = registry.histogram(
            "llm_router_queue_wait_seconds", "Time in the queue, by priority.", ["pool", "priority"], WAIT_BUCKETS
        )
        self.dispatch = registry.histogram(
            "llm_router_dispatch_seconds",
            "Time from arrival to the first dispatch to a worker.",
            ["pool"],
            WAIT_BUCKETS,
        )
        self.first_byte = registry.histogram(
            "llm_router_first_byte_seconds", "Time from dispatch to the worker's first bytes.", ["pool"], TTFT_BUCKETS
        )
        self._count_broken(registry)

    def _count_broken(self, registry: Registry) -> None:
        """Streams whose worker was lost, and what became of them."""
        self.broken = registry.counter(
            "llm_router_broken_streams_total", "Streams that ended with an error event.", ["pool"]
        )
        self.resumes = registry.counter(
            "llm_router_resumes_total", "Broken streams that were taken to another worker.", ["pool"]
        )
        self.not_resumable = registry.counter(
            "llm_router_not_resumable_total", "Broken streams that could not be, by the reason.", ["pool", "reason"]
        )
        self.unrecorded = registry.counter(
            "llm_router_unrecorded_streams_total",
            "Streams that could not be resumed if they broke: the replay memory was full.",
            ["pool"],
        )

    def watch(self, registry: Registry, pools: Sequence[PoolQueue], memory: ReplayMemory) -> None:
        """Read what is cheaper to read than to keep off the pools at each scrape."""
        state, caches = StateMetrics(registry), CacheMetrics(registry)

        def collect() -> None:
            state.read(pools, memory)
            caches.read(pools)

        registry.on_collect(collect)


class StateMetrics:
    """Queues, workers and memory as they are now."""

    def __init__(self, registry: Registry) -> None:
        self.queue_depth = registry.gauge(
            "llm_router_queue_depth", "Requests that wait for a worker, by priority.", ["pool", "priority"]
        )
        self.in_flight = registry.gauge(
            "llm_router_in_flight", "Requests that workers work on for this router.", ["pool", "worker"]
        )
        self.workers = registry.gauge("llm_router_workers", "Workers by state.", ["pool", "state"], merge="max")
        self.replay_bytes = registry.gauge(
            "llm_router_replay_bytes", "What is kept of running streams so that they could be resumed."
        )
        self.held_back = registry.counter(
            "llm_router_held_back_total", "Requests that were next, but whose tenant had its share.", ["pool"]
        )
        self._seen: set[tuple[str, str]] = set()

    def read(self, pools: Sequence[PoolQueue], memory: ReplayMemory) -> None:
        self.replay_bytes.only.set(memory.used)
        seen: set[tuple[str, str]] = set()
        for pool in pools:
            for band, depth in enumerate(pool.depths()):
                self.queue_depth.labels(pool.name, str(band)).set(depth)
            self.held_back.labels(pool.name).value = pool.held_back
            for state, count in _count_states(pool.workers).items():
                self.workers.labels(pool.name, state).set(count)
            for worker in pool.workers:
                seen.add((pool.name, worker.name))
                self.in_flight.labels(pool.name, worker.name).set(worker.in_flight)
        for gone in self._seen - seen:
            self.in_flight.remove(*gone)
        self._seen = seen


class CacheMetrics:
    """How workers were chosen, and what that spared: as expected, and as the engines tell it."""

    def __init__(self, registry: Registry) -> None:
        self.decisions = registry.counter(
            "llm_router_decisions_total", "Choices of a worker, by what decided.", ["pool", "reason"]
        )
        self.prompt_tokens = registry.counter(
            "llm_router_prompt_tokens_total", "Estimated prompt tokens of dispatched requests.", ["pool"]
        )
        self.cached_tokens = registry.counter(
            "llm_router_expected_cached_tokens_total", "Of these, those that the worker was held to have.", ["pool"]
        )
        self.engine_prompt_tokens = registry.counter(
            "llm_router_engine_prompt_tokens_total", "Prompt tokens that engines looked up in their caches.", ["pool"]
        )
        self.engine_cached_tokens = registry.counter(
            "llm_router_engine_cached_tokens_total", "Of these, those that the engines had.", ["pool"]
        )
        self._told: dict[tuple[str, str], Load] = {}
        """What each worker's counters were at the last scrape."""

    def read(self, pools: Sequence[PoolQueue]) -> None:
        told: dict[tuple[str, str], Load] = {}
        for pool in pools:
            decisions = pool.scheduler.decisions
            for reason, times in decisions.counts.items():
                self.decisions.labels(pool.name, reason).value = times
            self.prompt_tokens.labels(pool.name).value = decisions.prompt_tokens
            self.cached_tokens.labels(pool.name).value = decisions.cached_tokens
            for worker in pool.workers:
                told[pool.name, worker.name] = worker.load
                self._add(pool.name, self._told.get((pool.name, worker.name), worker.load), worker.load)
        self._told = told

    def _add(self, pool: str, known: Load, load: Load) -> None:
        """Add what the engine's own counters grew by: workers come and go, and begin anew."""
        if known.epoch != load.epoch or load.prompt_tokens < known.prompt_tokens:
            known = Load()
        self.engine_prompt_tokens.labels(pool).inc(load.prompt_tokens - known.prompt_tokens)
        self.engine_cached_tokens.labels(pool).inc(max(0, load.cached_tokens - known.cached_tokens))


def _count_states(workers: Collection[Worker]) -> dict[State, int]:
    counts = dict.fromkeys(State, 0)
    for worker in workers:
        counts[worker.state] += 1
    return counts

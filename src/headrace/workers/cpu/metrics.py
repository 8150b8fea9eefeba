"""The metrics of cpu-worker (``cpu_worker_*``)."""

from __future__ import annotations

from headrace.telemetry.metrics import ITL_BUCKETS, TTFT_BUCKETS, WAIT_BUCKETS, Registry
from headrace.workers.cpu.messages import Finish


class CpuMetrics:
    """Counts are of sequences: a request with ``n`` choices is ``n`` of them."""

    def __init__(self, registry: Registry) -> None:
        self.running = registry.gauge("cpu_worker_requests_running", "Sequences that the engine generates.").only
        self.waiting = registry.gauge("cpu_worker_requests_waiting", "Sequences that wait for the engine.").only
        self.queued_tokens = registry.gauge(
            "cpu_worker_queued_tokens", "Prompt tokens of the sequences that wait."
        ).only
        self.kv_usage = registry.gauge(
            "cpu_worker_kv_cache_usage_ratio", "Part of the KV cache that running sequences hold.", merge="max"
        ).only
        self.iterations = registry.counter("cpu_worker_iterations_total", "Steps of the engine.").only
        self.prompt_tokens = registry.counter("cpu_worker_prompt_tokens_total", "Prompt tokens taken in.").only
        self.generation_tokens = registry.counter("cpu_worker_generation_tokens_total", "Tokens generated.").only
        self.refused = registry.counter(
            "cpu_worker_requests_refused_total", "Requests refused because too many waited."
        ).only
        self.queue_seconds = registry.histogram(
            "cpu_worker_queue_wait_seconds", "Time that a sequence waited for the engine.", buckets=WAIT_BUCKETS
        ).only
        self.ttft_seconds = registry.histogram(
            "cpu_worker_ttft_seconds",
            "From taking a sequence to its first token.",
            buckets=TTFT_BUCKETS,
        ).only
        self.itl_seconds = registry.histogram(
            "cpu_worker_itl_seconds", "Time between two tokens of a sequence.", buckets=ITL_BUCKETS
        ).only
        finished = registry.counter("cpu_worker_requests_total", "Sequences by how they ended.", ("finish_reason",))
        reasons: tuple[Finish, ...] = ("stop", "length", "cancelled", "failed")
        self.finished = {reason: finished.labels(reason) for reason in reasons}

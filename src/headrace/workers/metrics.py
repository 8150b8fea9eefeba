"""What an engine cannot know of itself."""

from __future__ import annotations

from headrace.telemetry.metrics import Registry


class WorkerMetrics:
    """The metrics that every worker has, whatever its engine."""

    def __init__(self, registry: Registry) -> None:
        self.ready = registry.gauge("llm_worker_ready", "1 while requests may come.", merge="min").only
        self.draining = registry.gauge("llm_worker_draining", "1 while it only finishes what runs.", merge="max").only
        self.stalled = registry.gauge(
            "llm_worker_stalled", "1 while there is work but the engine makes no progress.", merge="max"
        ).only
        self.restarts = registry.counter(
            "llm_worker_restarts_total", "Times that the engine ended and was started again."
        ).only

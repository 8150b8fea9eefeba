"""What an engine cannot know of itself (``llm_worker_*``)."""

from __future__ import annotations

from headrace.telemetry.metrics import Registry


class WorkerMetrics:
    """The metrics that every worker has, whatever its engine."""

    def __init__(self, registry: Registry, worker: str, model: str) -> None:
        """``worker``: its service's name, such as ``vllm-worker``; ``model``: the name that it is served under."""
        info = registry.gauge(
            "llm_worker_info", "Always 1; its labels say what the worker serves.", ["model", "engine"], merge="max"
        )
        info.labels(model, worker.removesuffix("-worker")).set(1)
        self.ready = registry.gauge("llm_worker_ready", "1 while requests may come.", merge="min").only
        self.draining = registry.gauge("llm_worker_draining", "1 while it only finishes what runs.", merge="max").only
        self.stalled = registry.gauge(
            "llm_worker_stalled", "1 while there is work but the engine makes no progress.", merge="max"
        ).only
        self.restarts = registry.counter(
            "llm_worker_restarts_total", "Times that the engine ended and was started again."
        ).only

"""The metrics of bert-worker (``bert_worker_*``)."""

from __future__ import annotations

from headrace.telemetry.metrics import DURATION_BUCKETS, WAIT_BUCKETS, Registry

_BATCH_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_BATCH_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class BertMetrics:
    """Tokens count without padding, except where a name says otherwise."""

    def __init__(self, registry: Registry) -> None:
        self.requests = registry.counter(
            "bert_worker_requests_total", "Requests by endpoint and outcome: ok, cancelled or the error's code.",
            ("endpoint", "outcome"),
        )  # fmt: skip
        self.request_seconds = registry.histogram(
            "bert_worker_request_duration_seconds", "Time of a request inside the worker.", ("endpoint",),
            DURATION_BUCKETS,
        )  # fmt: skip
        self.queue_seconds = registry.histogram(
            "bert_worker_queue_wait_seconds",
            "Time from taking a request to the batch with its first input.",
            buckets=WAIT_BUCKETS,
        ).only
        self.rows = registry.counter("bert_worker_rows_total", "Inputs that were computed.").only
        self.tokens = registry.counter("bert_worker_tokens_total", "Tokens that were computed.").only
        self.padding = registry.counter(
            "bert_worker_padding_tokens_total", "Padding that was computed besides the tokens."
        ).only
        self.dropped = registry.counter(
            "bert_worker_rows_dropped_total",
            "Inputs that left the queue because their client went away or got an error.",
        ).only
        self.batch_tokens = registry.histogram(
            "bert_worker_batch_tokens", "Tokens of a batch, padding included.", buckets=_BATCH_TOKENS
        ).only
        self.batch_seconds = registry.histogram(
            "bert_worker_batch_duration_seconds", "Time that a batch was computed.", buckets=_BATCH_SECONDS
        ).only
        self.waiting_rows = registry.gauge("bert_worker_rows_waiting", "Inputs that wait for a batch.").only
        self.waiting_tokens = registry.gauge(
            "bert_worker_tokens_waiting", "Tokens of the inputs that wait and are tokenised."
        ).only
        self.running = registry.gauge("bert_worker_requests_running", "Requests that have inputs in a batch.").only
        self.waiting = registry.gauge("bert_worker_requests_waiting", "Requests that have none yet.").only

"""llm-api's metrics (``llm_api_*``)."""

from __future__ import annotations

from headrace.api.record import Record
from headrace.telemetry.metrics import DURATION_BUCKETS, ITL_BUCKETS, TTFT_BUCKETS, Registry


class ApiMetrics:
    def __init__(self, registry: Registry) -> None:
        self.requests = registry.counter(
            "llm_api_requests_total", "Requests by endpoint, model and status.", ["path", "model", "status"]
        )
        self.errors = registry.counter("llm_api_errors_total", "Requests that failed, by error code.", ["path", "code"])
        self.duration = registry.histogram(
            "llm_api_request_duration_seconds", "From the head to the last byte.", ["path", "model"], DURATION_BUCKETS
        )
        self.ttft = registry.histogram(
            "llm_api_ttft_seconds", "From the head to the first event of a stream.", ["model"], TTFT_BUCKETS
        )
        self.itl = registry.histogram(
            "llm_api_itl_seconds",
            "Mean time between two tokens of a stream, one observation each.",
            ["model"],
            ITL_BUCKETS,
        )
        self.tokens = registry.counter("llm_api_tokens_total", "Tokens of finished requests.", ["model", "kind"])
        self.in_flight = registry.gauge("llm_api_in_flight", "Requests that are being answered.").only
        self.log_dropped = registry.counter(
            "llm_api_log_lines_dropped_total", "Access lines that nobody took in time."
        ).only

    def finished(self, record: Record) -> None:
        """Count one request."""
        path, model = record.path, record.model
        self.requests.labels(path, model, str(record.status)).inc()
        self.duration.labels(path, model).observe(record.total_ms / 1000)
        if record.reason:
            self.errors.labels(path, record.reason).inc()
        if record.prompt_tokens:
            self.tokens.labels(model, "prompt").inc(record.prompt_tokens)
            if record.cached_tokens:
                self.tokens.labels(model, "cached").inc(record.cached_tokens)
        if record.completion_tokens:
            self.tokens.labels(model, "completion").inc(record.completion_tokens)
        if record.stream and record.ttft_ms:
            self.ttft.labels(model).observe(record.ttft_ms / 1000)
            if record.completion_tokens > 1:
                spread = record.total_ms - record.ttft_ms - record.client_stall_ms
                self.itl.labels(model).observe(max(0.0, spread) / 1000 / (record.completion_tokens - 1))

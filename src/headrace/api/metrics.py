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
        self.limited = registry.counter("llm_api_limited_total", "Requests that a limit refused.", ["owner", "limit"])
        self.fallbacks = registry.counter(
            "llm_api_fallbacks_total",
            "Requests that went on to another model of their alias, by the model that failed and why.",
            ["alias", "model", "reason"],
        )
        self.aliases_stale = registry.gauge(
            "llm_api_aliases_stale", "1 while the file of the aliases cannot be used and older ones are.", merge="max"
        ).only
        self.limits_fallback = registry.gauge(
            "llm_api_limits_fallback",
            "1 while Redis does not answer and limits are applied in local shares.",
            merge="max",
        ).only
        self.ledger_records = registry.counter(
            "llm_api_ledger_records_total", "Requests whose usage was written down."
        ).only
        self.ledger_dropped = registry.counter(
            "llm_api_ledger_dropped_total", "Requests whose usage is lost: the spool, or its disk, was full."
        ).only
        self.ledger_refused = registry.counter(
            "llm_api_ledger_refused_total", "Lines of usage that were damaged, too old, or refused by the database."
        ).only
        self.ledger_unsynced = registry.counter(
            "llm_api_ledger_sync_failures_total", "Times that usage could not be forced to the disk."
        ).only
        self.spool_bytes = registry.gauge(
            "llm_api_ledger_spool_bytes", "Usage that waits for the database, of all processes.", merge="max"
        ).only
        self.ledger_lag = registry.gauge(
            "llm_api_ledger_lag_seconds", "How long the oldest usage has been waiting for the database.", merge="max"
        ).only
        self.in_flight = registry.gauge("llm_api_in_flight", "Requests that are being answered.").only
        self.responses_dropped = registry.counter(
            "llm_api_responses_dropped_total", "Responses that could not be stored: too large, or no database for long."
        ).only
        self.prompts_dropped = registry.counter(
            "llm_api_prompts_dropped_total", "Prompts that should have been logged and could not be."
        ).only
        self.spans_dropped = registry.counter(
            "llm_api_spans_dropped_total", "Spans that the collector did not take in time."
        ).only
        self.log_dropped = registry.counter(
            "llm_api_log_lines_dropped_total", "Access lines that nobody took in time."
        ).only

        self._series: dict[tuple[str, str], _Series] = {}

    def finished(self, record: Record) -> None:
        """Count one request."""
        key = (record.path, record.model)
        series = self._series.get(key)
        if series is None:
            series = self._series.setdefault(key, _Series(self, *key))
        if record.status == 200:
            series.ok.value += 1
        else:
            self.requests.labels(record.path, record.model, str(record.status)).inc()
        series.duration.observe(record.total_ms / 1000)
        if record.reason:
            self.errors.labels(record.path, record.reason).inc()
        series.prompt.value += record.prompt_tokens
        series.cached.value += record.cached_tokens
        series.completion.value += record.completion_tokens
        if record.stream and record.ttft_ms:
            series.ttft.observe(record.ttft_ms / 1000)
            if record.completion_tokens > 1:
                spread = record.total_ms - record.ttft_ms - record.client_stall_ms
                series.itl.observe(max(0.0, spread) / 1000 / (record.completion_tokens - 1))


class _Series:
    """The children that each request of one path and model touches, looked up once."""

    __slots__ = ("cached", "completion", "duration", "itl", "ok", "prompt", "ttft")

    def __init__(self, metrics: ApiMetrics, path: str, model: str) -> None:
        self.ok = metrics.requests.labels(path, model, "200")
        self.duration = metrics.duration.labels(path, model)
        self.prompt = metrics.tokens.labels(model, "prompt")
        self.cached = metrics.tokens.labels(model, "cached")
        self.completion = metrics.tokens.labels(model, "completion")
        self.ttft = metrics.ttft.labels(model)
        self.itl = metrics.itl.labels(model)

"""llm-api's metrics (``llm_api_*``)."""

from __future__ import annotations

from headrace.api.record import Record
from headrace.telemetry.metrics import DURATION_BUCKETS, ITL_BUCKETS, TTFT_BUCKETS, Bound, Counter, Family, Registry

TENANTS = 200
"""Tenants with series of their own; what the others use is counted under ``other``. The ledger knows them all."""


class ApiMetrics:
    """What requests do, counted when they end. The groups in it are read off other parts at each scrape."""

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
        self.tenant_tokens = registry.counter(
            "llm_api_tenant_tokens_total", "The same by tenant.", ["tenant", "model", "kind"]
        )
        self.tenant_requests = registry.counter(
            "llm_api_tenant_requests_total", "Requests by tenant and how they ended.", ["tenant", "outcome"]
        )
        self.in_flight = registry.gauge("llm_api_in_flight", "Requests that are being answered.").only
        self.limited = registry.counter("llm_api_limited_total", "Requests that a limit refused.", ["owner", "limit"])
        self.fallbacks = registry.counter(
            "llm_api_fallbacks_total",
            "Requests that went on to another model of their alias, by the model that failed and why.",
            ["alias", "model", "reason"],
        )
        self.responses_dropped = registry.counter(
            "llm_api_responses_dropped_total", "Responses that could not be stored: too large, or no database for long."
        ).only
        self.state = StateMetrics(registry)
        self.ledger = LedgerMetrics(registry)
        self._series: dict[tuple[str, str], _Series] = {}
        self._tenants: dict[tuple[str, str], _Tenant] = {}
        self._bound = Bound(TENANTS)

    def finished(self, record: Record, trace: str = "") -> None:
        """Count one request. ``trace``: its id, if a collector gets it; it becomes an exemplar."""
        key = (record.path, record.model)
        series = self._series.get(key)
        if series is None:
            series = self._series.setdefault(key, _Series(self, *key))
        if record.status == 200:
            series.ok.value += 1
        else:
            self.requests.labels(record.path, record.model, str(record.status)).inc()
        series.duration.observe(record.total_ms / 1000, trace)
        if record.reason:
            self.errors.labels(record.path, record.reason).inc()
        series.tokens.count(record)
        if record.stream and record.ttft_ms:
            stream = series.stream or series.open_stream()
            stream.ttft.observe(record.ttft_ms / 1000, trace)
            if record.completion_tokens > 1:
                spread = record.total_ms - record.ttft_ms - record.client_stall_ms
                stream.itl.observe(max(0.0, spread) / 1000 / (record.completion_tokens - 1), trace)
        if record.tenant:
            self._count_tenant(record)

    def _count_tenant(self, record: Record) -> None:
        key = (record.tenant, record.model)
        tenant = self._tenants.get(key)
        if tenant is None:
            key = (self._bound(record.tenant), record.model)
            tenant = self._tenants.get(key)
            if tenant is None:
                tenant = self._tenants.setdefault(key, _Tenant(self, *key))
        if record.status == 200:
            tenant.ok.value += 1
        else:
            self.tenant_requests.labels(tenant.name, outcome(record.status)).inc()
        if tenant.tokens is not None:
            tenant.tokens.count(record)


def outcome(status: int) -> str:
    """How a request ended, in a word: ours to answer for is ``failed`` alone."""
    if status < 400:
        return "ok"
    if status >= 500:
        return "failed"
    return {429: "limited", 499: "gone"}.get(status, "refused")


class StateMetrics:
    """How llm-api's parts do, and what they had to drop."""

    def __init__(self, registry: Registry) -> None:
        self.store_up = registry.gauge(
            "llm_api_store_up",
            "0 while the database does not answer; keys are then known from a snapshot.",
            merge="min",
        ).only
        self.aliases_stale = registry.gauge(
            "llm_api_aliases_stale", "1 while the file of the aliases cannot be used and older ones are.", merge="max"
        ).only
        self.limits_fallback = registry.gauge(
            "llm_api_limits_fallback",
            "1 while Redis does not answer and limits are applied in local shares.",
            merge="max",
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


class LedgerMetrics:
    """Usage on its way to the database."""

    def __init__(self, registry: Registry) -> None:
        self.records = registry.counter("llm_api_ledger_records_total", "Requests whose usage was written down.").only
        self.dropped = registry.counter(
            "llm_api_ledger_dropped_total", "Requests whose usage is lost: the spool, or its disk, was full."
        ).only
        self.refused = registry.counter(
            "llm_api_ledger_refused_total", "Lines of usage that were damaged, too old, or refused by the database."
        ).only
        self.unsynced = registry.counter(
            "llm_api_ledger_sync_failures_total", "Times that usage could not be forced to the disk."
        ).only
        self.spool_bytes = registry.gauge(
            "llm_api_ledger_spool_bytes", "Usage that waits for the database, of all processes.", merge="max"
        ).only
        self.lag = registry.gauge(
            "llm_api_ledger_lag_seconds", "How long the oldest usage has been waiting for the database.", merge="max"
        ).only


class _Tokens:
    """The children of one family for the tokens of one request, looked up once."""

    __slots__ = ("_cached", "_completion", "_prompt")

    def __init__(self, family: Family[Counter], *labels: str) -> None:
        self._prompt = family.labels(*labels, "prompt")
        self._cached = family.labels(*labels, "cached")
        self._completion = family.labels(*labels, "completion")

    def count(self, record: Record) -> None:
        self._prompt.value += record.prompt_tokens
        self._cached.value += record.cached_tokens
        self._completion.value += record.completion_tokens


class _Series:
    """The children that each request of one path and model touches, looked up once."""

    __slots__ = ("_metrics", "_model", "duration", "ok", "stream", "tokens")

    def __init__(self, metrics: ApiMetrics, path: str, model: str) -> None:
        self.ok = metrics.requests.labels(path, model, "200")
        self.duration = metrics.duration.labels(path, model)
        self.tokens = _Tokens(metrics.tokens, model)
        self.stream: _Stream | None = None
        self._metrics, self._model = metrics, model

    def open_stream(self) -> _Stream:
        """With the first stream: what never streams needs no such series."""
        self.stream = _Stream(self._metrics, self._model)
        return self.stream


class _Stream:
    """What streams touch besides."""

    __slots__ = ("itl", "ttft")

    def __init__(self, metrics: ApiMetrics, model: str) -> None:
        self.ttft = metrics.ttft.labels(model)
        self.itl = metrics.itl.labels(model)


class _Tenant:
    """The same for one tenant and model; what reaches no model has no tokens."""

    __slots__ = ("name", "ok", "tokens")

    def __init__(self, metrics: ApiMetrics, name: str, model: str) -> None:
        self.name = name
        self.ok = metrics.tenant_requests.labels(name, "ok")
        self.tokens = _Tokens(metrics.tenant_tokens, name, model) if model else None

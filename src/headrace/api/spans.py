"""A span for each request, with OpenTelemetry's attributes for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

import time

from headrace.api.record import Record
from headrace.telemetry.traces import Context, Span, Tracer, Value
from headrace.wire import contract
from headrace.wire.exchange import Exchange

_OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/messages": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}


class Spans:
    """What ``Access`` calls at both ends of a request, where traces are on."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(self, exchange: Exchange, record: Record) -> Context:
        """Join the caller's trace or begin one; what is called next joins ours."""
        headers = exchange.request.headers
        context = self._tracer.open(headers.get(contract.TRACEPARENT))
        headers[contract.TRACEPARENT] = context.header()
        record.trace = context.trace
        return context

    def end(self, context: Context, method: str, record: Record) -> None:
        now = time.time_ns()
        operation = _OPERATIONS.get(record.path, record.path)
        name = f"{operation} {record.model}" if record.model else operation
        error = "" if record.status < 500 else record.reason or str(record.status)
        start = now - int(record.total_ms * 1e6)
        self._tracer.end(Span(context, name, start, now, _attributes(operation, method, record), error))


def _attributes(operation: str, method: str, record: Record) -> dict[str, Value]:
    """Never the text of a prompt or an answer."""
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "headrace",
        "gen_ai.request.model": record.alias or record.model,
        "gen_ai.response.model": record.model,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.output_tokens": record.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": record.cached_tokens,
        "http.request.method": method,
        "http.route": record.path,
        "http.response.status_code": record.status,
        "headrace.request_id": record.id,
        "headrace.tenant": record.tenant,
        "headrace.key": record.key,
        "headrace.worker": record.worker,
        "headrace.stream": record.stream,
        "headrace.queue_ms": record.queue_ms,
        "headrace.ttft_ms": record.ttft_ms,
        "headrace.client_stall_ms": record.client_stall_ms,
    }
    if record.reason:
        attributes["error.type"] = record.reason
    return {name: value for name, value in attributes.items() if value != ""}

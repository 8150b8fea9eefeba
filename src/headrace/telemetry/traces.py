"""Spans by OTLP, off the request path.

Whoever serves a request only notes what a span consists of; a thread makes OpenTelemetry's spans of it and sends them
in batches. The trace context is W3C's (https://www.w3.org/TR/trace-context/).
"""

from __future__ import annotations

import logging
import queue
import random
import re
import threading
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from headrace import __version__
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

log = logging.getLogger(__name__)

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_FLUSH_SECONDS = 1.0
_BATCH = 512
_LIMIT = 8192
"""Spans that may wait; what comes on top is dropped and counted."""
_TIMEOUT = 5.0

Value = str | int | float | bool


class Context(NamedTuple):
    """Where a span belongs."""

    trace: str
    """32 hex digits."""
    span: str
    """16 hex digits: our own."""
    parent: str
    """The caller's, or empty."""
    sampled: bool

    def header(self) -> bytes:
        """The ``traceparent`` for whoever is called next."""
        return f"00-{self.trace}-{self.span}-{'01' if self.sampled else '00'}".encode()


class Span(NamedTuple):
    """A finished span. Times are nanoseconds since 1970."""

    context: Context
    name: str
    start: int
    end: int
    attributes: Mapping[str, Value]
    error: str
    """What went wrong; empty if nothing did."""


def parse(traceparent: bytes) -> tuple[str, str, bool] | None:
    """Trace, parent span and whether it is sampled; None for what is not a valid header."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or match[1] == b"ff" or (match[1] == b"00" and len(traceparent) != 55):
        return None
    trace, span = match[2].decode(), match[3].decode()
    if not trace.strip("0") or not span.strip("0"):
        return None
    return trace, span, bool(int(match[4], 16) & 1)


class Tracer:
    """Opens contexts and sends spans to a collector."""

    def __init__(self, url: str, service: str, sample: float = 1.0) -> None:
        """``url``: of an OTLP/HTTP collector, without a path.

        ``sample``: the part that is sent of the traces that begin here.
        Raises ConfigError where OpenTelemetry is not installed.
        """
        self.dropped = 0
        self._sample = sample
        self._exporter = _exporter(url)
        self._convert = _Converter(service)
        self._spans: deque[Span] = deque()  # its methods are atomic
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="span-export", daemon=True)
        self._thread.start()

    def open(self, traceparent: bytes | None) -> Context:
        """A context for a request; a caller's valid header decides about trace and sampling."""
        caller = parse(traceparent) if traceparent is not None else None
        span = f"{random.getrandbits(64) or 1:016x}"
        if caller is not None:
            return Context(caller[0], span, caller[1], caller[2])
        trace = f"{random.getrandbits(128) or 1:032x}"
        return Context(trace, span, "", random.random() < self._sample)  # noqa: S311

    def end(self, span: Span) -> None:
        """Take a finished span. Never waits."""
        if not span.context.sampled:
            return
        if len(self._spans) >= _LIMIT:
            self.dropped += 1
        else:
            self._spans.append(span)

    def close(self) -> None:
        """Send what waits, within the time of one export."""
        self._wake.put(True)
        self._thread.join(timeout=_TIMEOUT + 1)
        self._exporter.shutdown()

    def _run(self) -> None:
        closing = False
        while not closing:
            try:
                closing = self._wake.get(timeout=_FLUSH_SECONDS)
            except queue.Empty:
                closing = False
            while self._spans:
                self._send([self._spans.popleft() for _ in range(min(_BATCH, len(self._spans)))])

    def _send(self, spans: list[Span]) -> None:
        from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415

        if self._exporter.export([self._convert(span) for span in spans]) is not SpanExportResult.SUCCESS:
            self.dropped += len(spans)
            log.warning("the collector takes no spans", extra={"spans": len(spans)})


class _Converter:
    """From ours to OpenTelemetry's."""

    def __init__(self, service: str) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

        self._resource = Resource.create({"service.name": service, "service.version": __version__})
        self._scope = InstrumentationScope("headrace", __version__)

    def __call__(self, span: Span) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags  # noqa: PLC0415

        context, flags = span.context, TraceFlags(TraceFlags.SAMPLED)
        trace = int(context.trace, 16)
        parent = None
        if context.parent:
            parent = SpanContext(trace, int(context.parent, 16), is_remote=True, trace_flags=flags)
        return ReadableSpan(
            name=span.name,
            context=SpanContext(trace, int(context.span, 16), is_remote=False, trace_flags=flags),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
            start_time=span.start,
            end_time=span.end,
            instrumentation_scope=self._scope,
        )


def _exporter(url: str) -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(f"api.otlp: traces need the extra otel (pip install 'headrace[otel]'): {error}") from None
    return OTLPSpanExporter(endpoint=f"{url}/v1/traces", timeout=_TIMEOUT)

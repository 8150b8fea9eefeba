"""Traces: what a real collector's endpoint receives."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from headrace.errors import ConfigError
from headrace.telemetry import traces
from tests.api.conftest import Api, StartApi, StartRouter, chat
from tests.fakes import FakeServer, answer, refuse, stream
from tests.wire.peer import wait_for

pytestmark = pytest.mark.own_stores

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Collector(FakeServer):
    """Takes OTLP over HTTP."""

    def spans(self) -> list[Span]:
        found: list[Span] = []
        for call in self.calls:
            assert (call.path, call.header("content-type")) == ("/v1/traces", "application/x-protobuf")
            body = gzip.decompress(call.body) if call.header("content-encoding") == "gzip" else call.body
            request = ExportTraceServiceRequest.FromString(body)
            found += [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
        return found


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    server = Collector(answer(200, b"", kind="application/x-protobuf"))
    await server.start()
    yield server
    await server.stop()


def attributes(span: Span) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "") for pair in span.attributes}


def exemplars(api: Api) -> set[str]:
    """Traces that the histograms name."""
    children = [child for family in api.service.registry.snapshot() for child in family.children]
    return {exemplar.trace for child in children for exemplar in child.exemplars.values()}


async def test_span_joins_the_callers_trace(
    start_api: StartApi, start_router: StartRouter, collector: Collector
) -> None:
    router = await start_router()
    api = await start_api(router, otlp=collector.url)
    router.script = [stream(fields=(("x-headrace-worker", "w:1"),))]
    await api.post(chat(stream=True, messages=[{"role": "user", "content": "SECRET"}]), traceparent=TRACEPARENT)
    await wait_for(lambda: bool(collector.spans()), "the span")
    [span] = collector.spans()
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert router.requests[0].header("traceparent") == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert (span.name, span.kind) == ("chat m", Span.SPAN_KIND_SERVER)
    assert 0 < span.start_time_unix_nano < span.end_time_unix_nano
    told = attributes(span)
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.usage.input_tokens"] == 11
    assert told["gen_ai.usage.output_tokens"] == 3
    assert told["headrace.worker"] == "w:1"
    assert "SECRET" not in str(told)
    [record] = await api.records(1)
    assert record["trace"] == TRACE


async def test_span_has_the_requests_method(start_api: StartApi, collector: Collector) -> None:
    api = await start_api(otlp=collector.url)
    await api.get("/v1/models")
    await wait_for(lambda: bool(collector.spans()), "the span")
    [span] = collector.spans()
    assert attributes(span)["http.request.method"] == "GET"


async def test_failure_is_in_the_span(start_api: StartApi, start_router: StartRouter, collector: Collector) -> None:
    router = await start_router()
    api = await start_api(router, otlp=collector.url)
    router.script = [refuse(503, "overloaded")]
    await api.post()
    await wait_for(lambda: bool(collector.spans()), "the span")
    [span] = collector.spans()
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert attributes(span)["error.type"] == "overloaded"
    assert not span.parent_span_id


@pytest.mark.parametrize(
    ("given", "sample", "sent"),
    [("", 0.0, False), (TRACEPARENT, 0.0, True), (TRACEPARENT[:-2] + "00", 1.0, False), ("00-1-2-01", 1.0, True)],
)
async def test_sampling_is_the_callers_or_ours(
    start_api: StartApi, start_router: StartRouter, collector: Collector, given: str, sample: float, sent: bool
) -> None:
    router = await start_router()
    api = await start_api(router, otlp=collector.url, otlp_sample=sample)
    await api.post(chat(), **({"traceparent": given} if given else {}))
    await api.service.close()
    assert bool(collector.spans()) == sent
    assert router.requests[0].header("traceparent").endswith("-01" if sent else "-00")
    assert exemplars(api) == ({span.trace_id.hex() for span in collector.spans()} if sent else set())
    _forget(api)


async def test_collector_that_fails_costs_spans_and_nothing_else(
    start_api: StartApi, start_router: StartRouter, collector: Collector
) -> None:
    collector.default = answer(400, b"no", kind="text/plain")
    api = await start_api(await start_router(), otlp=collector.url)
    assert (await api.post()).status == 200
    await wait_for(lambda: api.metric("llm_api_spans_dropped_total") == 1, "the counter")


async def test_spans_that_nobody_takes_have_a_bound(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_LIMIT", 2)
    tracer = traces.Tracer(collector.url, "test")
    for _ in range(5):
        tracer.end(traces.Span(tracer.open(None), "x", 1, 2, {}, ""))
    assert tracer.dropped == 3
    await asyncio.to_thread(tracer.close)
    assert len(collector.spans()) == 2


async def test_without_the_packages_it_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match="extra otel"):
        traces.Tracer("http://x", "test")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"00-1-2-01",
        TRACEPARENT.upper().encode(),
        TRACEPARENT.encode() + b"-x",
        b"ff" + TRACEPARENT[2:].encode(),
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-" + TRACE.encode() + b"-" + b"0" * 16 + b"-01",
    ],
)
def test_what_is_no_traceparent_is_ignored(header: bytes) -> None:
    assert traces.parse(header) is None


def test_later_versions_of_traceparent_are_read() -> None:
    assert traces.parse(b"01" + TRACEPARENT[2:].encode() + b"-more") == (TRACE, PARENT, True)


def _forget(api: Api) -> None:
    """The service is closed already."""

    async def nothing() -> None:
        pass

    api.service.close = nothing  # type: ignore[method-assign]

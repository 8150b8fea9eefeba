"""Instruments, their merging, and what Prometheus reads."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from headrace.telemetry.exposition import render
from headrace.telemetry.metrics import MAX_CHILDREN, Bound, Registry
from headrace.telemetry.snapshot import FamilySnapshot, lasting, merge

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
"""What Prometheus 2.42 asks for (scrape/scrape.go)."""
NEWER = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
"""What Prometheus 3 asks for."""
TRACES = ("0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736")


def made(counter: float, gauge: float, seconds: float) -> Registry:
    registry = Registry()
    registry.counter("a_total", "A.", ["kind"]).labels("x").inc(counter)
    registry.gauge("g", "G.", merge="max").only.set(gauge)
    registry.histogram("h_seconds", "H.", buckets=(0.1, 1)).only.observe(seconds)
    return registry


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_two_processes_become_one() -> None:
    merged = merge([made(2, 5, 0.05).snapshot(), made(3, 4, 0.5).snapshot()])
    read = samples(render(merged).body)
    assert read["a_total", (("kind", "x"),)] == 5
    assert read["g", ()] == 5
    assert read["h_seconds_bucket", (("le", "0.1"),)] == 1
    assert read["h_seconds_bucket", (("le", "+Inf"),)] == 2
    assert read["h_seconds_count", ()] == 2
    assert read["h_seconds_sum", ()] == pytest.approx(0.55)


def test_label_sets_are_bounded() -> None:
    registry = Registry()
    family = registry.counter("a_total", "A.", ["who"])
    for number in range(MAX_CHILDREN + 10):
        family.labels(str(number)).inc()
    assert len(family.children) == MAX_CHILDREN + 1
    assert family.labels("other").value == 10


def test_a_label_of_many_values_keeps_the_first() -> None:
    tenant = Bound(2)
    assert [tenant(name) for name in ("a", "b", "c", "a", "d", "b")] == ["a", "b", "other", "a", "other", "b"]


def traced(*observations: tuple[float, str]) -> Registry:
    registry = Registry()
    histogram = registry.histogram("h_seconds", "H.", ["model"], buckets=(0.1, 1)).labels("m")
    for seconds, trace in observations:
        histogram.observe(seconds, trace)
    return registry


def buckets(snapshot: list[FamilySnapshot], accept: str) -> dict[str, Sample]:
    page = render(snapshot, accept)
    assert page.content_type.startswith("application/openmetrics-text; version=1.0.0")
    (family,) = openmetrics_families(page.body.decode())  # type: ignore[no-untyped-call]
    return {sample.labels["le"]: sample for sample in family.samples if sample.name == "h_seconds_bucket"}


@pytest.mark.parametrize("accept", [OPENMETRICS, NEWER])
def test_who_asks_for_openmetrics_gets_exemplars(accept: str) -> None:
    found = buckets(traced((0.05, TRACES[0]), (0.5, ""), (0.06, TRACES[1])).snapshot(), accept)
    exemplar = found["0.1"].exemplar
    assert exemplar is not None
    assert (exemplar.labels, exemplar.value) == ({"trace_id": TRACES[1]}, 0.06)
    assert found["1.0"].exemplar is None
    assert (found["1.0"].value, found["+Inf"].value) == (3, 3)


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "application/json"])
def test_others_get_the_plain_format_without_them(accept: str) -> None:
    page = render(traced((0.05, TRACES[0])).snapshot(), accept)
    assert page.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert TRACES[0].encode() not in page.body


def test_the_latest_exemplar_of_several_processes_stays() -> None:
    first, second = (traced((0.05, trace)).snapshot() for trace in TRACES)
    sent = msgspec.json.decode(msgspec.json.encode(first), type=list[FamilySnapshot])  # as a child sends it
    for snapshots in ([sent, second], [second, sent]):
        found = buckets(merge(snapshots), OPENMETRICS)
        assert found["0.1"].value == 2
        exemplar = found["0.1"].exemplar
        assert exemplar is not None
        assert exemplar.labels == {"trace_id": TRACES[1]}


def test_of_a_dead_process_the_counts_stay() -> None:
    kept = merge([lasting(made(2, 5, 0.05).snapshot()), made(1, 1, 0.5).snapshot()])
    read = samples(render(kept).body)
    assert read["a_total", (("kind", "x"),)] == 3
    assert read["g", ()] == 1


def test_gauges_are_read_at_the_scrape() -> None:
    registry = Registry()
    gauge = registry.gauge("g", "G.").only
    registry.on_collect(lambda: gauge.set(7))
    assert samples(render(registry.snapshot()).body)["g", ()] == 7


def test_mistakes_are_found_at_the_start() -> None:
    registry = Registry()
    registry.gauge("g", "G.")
    with pytest.raises(ValueError, match="twice"):
        registry.gauge("g", "G.")
    with pytest.raises(ValueError, match="_total"):
        registry.counter("a", "A.")
    with pytest.raises(ValueError, match="labels"):
        registry.counter("b_total", "B.", ["x"]).labels("1", "2")

"""Instruments, their merging, and what Prometheus reads."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headrace.telemetry.metrics import MAX_CHILDREN, Registry, merge, render


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
    read = samples(render(merged))
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


def test_gauges_are_read_at_the_scrape() -> None:
    registry = Registry()
    gauge = registry.gauge("g", "G.").only
    registry.on_collect(lambda: gauge.set(7))
    assert samples(render(registry.snapshot()))["g", ()] == 7


def test_mistakes_are_found_at_the_start() -> None:
    registry = Registry()
    registry.gauge("g", "G.")
    with pytest.raises(ValueError, match="twice"):
        registry.gauge("g", "G.")
    with pytest.raises(ValueError, match="_total"):
        registry.counter("a", "A.")
    with pytest.raises(ValueError, match="labels"):
        registry.counter("b_total", "B.", ["x"]).labels("1", "2")

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from headrace.router.health.exposition import labels, read


def test_what_prometheus_client_writes_is_read() -> None:
    registry = CollectorRegistry()
    running = Gauge("running", "text", ["engine", "model"], registry=registry)
    running.labels("0", 'a "b" {c}').set(2)
    running.labels("1", "m").set(3.5)
    Gauge("running_more", "another one", registry=registry).set(100)
    Gauge("plain", "no labels", registry=registry).set(1e9)
    steps = Histogram("steps", "text", ["m"], registry=registry)
    steps.labels("m").observe(2)
    steps.labels("m").observe(2)
    page = generate_latest(registry)
    assert read(page, ["plain", "steps_count", "missing"]) == {"plain": 1e9, "steps_count": 2}
    assert read(page, ["running"])["running"] >= 3.5
    assert labels(page, "running")[0] == {"engine": "0", "model": 'a \\"b\\" {c}'}


def test_series_of_several_engines_are_added() -> None:
    page = b'# HELP a x\na{engine="0"} 1\na{engine="1"} 2 1700000000\nab 9\n'
    assert read(page, ["a"]) == {"a": 3.0}


def test_nonsense_is_left_out() -> None:
    page = b'a\na nan\na +Inf\na{x="1"}\na one\n\xff\xfe\na 4\n<html>'
    assert read(page, ["a"]) == {"a": 4.0}
    assert labels(page, "a") == [{"x": "1"}]
    assert labels(page, "b") == []

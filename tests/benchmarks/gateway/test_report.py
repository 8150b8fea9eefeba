import re

import msgspec
import pytest

from benchmarks.gateway import report
from benchmarks.gateway.columns import Column, select
from benchmarks.gateway.rounds import Results, Sample


def _column(key: str) -> Column:
    (column,) = select(key)
    return column


def _cpu(*values: float) -> list[Sample]:
    return [Sample(value, 1000.0, {"api": value * 0.75, "router": value * 0.25}) for value in values]


def _plain(*values: float) -> list[Sample]:
    return [Sample(value, 2000.0, {}) for value in values]


def test_cpu_is_compared_with_nginx_round_by_round() -> None:
    samples = {"nginx": _plain(10.0, 20.0, 10.0), "headrace": _cpu(40.0, 80.0, 30.0)}
    summary = report.comparison(_column("json"), samples, "headrace")
    assert summary is not None
    assert (summary.low, summary.median, summary.high) == (3.0, 4.0, 4.0)


def test_latency_is_compared_with_the_direct_way() -> None:
    samples = {"direct": _plain(0.125, 0.25), "nginx": _plain(0.25, 0.5), "headrace": _plain(0.375, 0.5)}
    column = _column("latency")
    added = {target: report.comparison(column, samples, target) for target in samples}
    assert added["direct"] is None
    assert added["nginx"] is not None
    assert added["nginx"].low == 0.125
    assert added["headrace"] is not None
    assert added["headrace"].median == 0.25


@pytest.mark.parametrize(("measured", "word"), [(50.0, "met"), (51.0, "MISSED")])
def test_the_verdict_compares_with_the_goal(measured: float, word: str) -> None:
    verdict = report.verdict(_column("json"), {"nginx": _plain(10.0), "headrace": _cpu(measured)})
    assert verdict == f"goal: at most 5 × nginx; measured {measured / 10:.2f}: {word}"


def test_without_nginx_figures_are_absolute_and_say_so() -> None:
    table = report.table(_column("stream"), {"headrace": _cpu(16.0, 18.0)})
    assert "17.00" in table
    assert "nginx is not installed: absolute figures only" in table
    assert "MISSED" not in table
    assert "met" not in table


def test_the_table_splits_headrace_by_service() -> None:
    table = report.table(_column("json"), {"nginx": _plain(10.0), "headrace": _cpu(40.0)})
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.startswith("  ")}
    assert rows["headrace"][:2] == ["40.00", "40.00"]
    assert rows["headrace"][3:5] == ["1,000", "4.00"]
    assert rows["api"][:2] == ["30.00", "30.00"]
    assert rows["router"][:2] == ["10.00", "10.00"]


def test_noise_names_the_figures_it_is_in() -> None:
    column = _column("json")
    results: Results = {"json": {"nginx": _plain(10.0, 10.1), "headrace": _cpu(40.0, 60.0)}}
    assert "json via headrace (40%)" in report.noise([column], results)
    assert "nginx" not in report.noise([column], results)


def test_a_quiet_machine_is_not_mentioned() -> None:
    results: Results = {"json": {"nginx": _plain(10.0, 10.1)}}
    assert report.noise([_column("json")], results) == ""


def test_the_document_keeps_every_round() -> None:
    results: Results = {"json": {"nginx": _plain(10.0, 20.0), "headrace": _cpu(40.0, 40.0)}}
    document = msgspec.json.decode(msgspec.json.encode(report.document([_column("json")], results, {"rounds": 2})))
    assert document["rounds"] == 2
    json = document["columns"]["json"]
    assert [sample["value"] for sample in json["samples"]["nginx"]] == [10.0, 20.0]
    assert json["samples"]["headrace"][0]["parts"] == {"api": 30.0, "router": 10.0}
    assert json["compared"] == {"nginx": None, "headrace": {"low": 2.0, "median": 3.0, "high": 4.0}}


def test_the_python_and_its_speed_are_named() -> None:
    assert re.fullmatch(r"Python 3\.\d+\.\d+ of /\S+, [1-9]\d+ µs for scripts/speed.py", report.python())

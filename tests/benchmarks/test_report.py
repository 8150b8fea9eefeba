"""What the report is made of: slopes, plots, steps, tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.client import FIGURES
from benchmarks.gateway.processes import BenchmarkError
from benchmarks.gateway.stack import Target
from benchmarks.report import beside, page, plot, samples
from benchmarks.report.loads import Load
from benchmarks.report.steps import Step, run


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_a_slope_is_the_exponent(exponent: float) -> None:
    assert plot.slope([(x, 3 * x**exponent) for x in (1, 10, 100, 5000)]) == pytest.approx(exponent)


def test_a_plot_names_its_lines_and_their_slopes() -> None:
    text = plot.draw("Cost & load", "streams", "µs", {"linear": [(1, 2), (10, 20)], "one": [(1, 7)]})
    tree = ElementTree.fromstring(text)
    words = [node.text for node in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Cost & load", "streams", "µs", "linear (x^1.00)", "one"} <= set(words)


def sample(number: int, cpu: float) -> dict[str, float]:
    return {"round": number, "cpu": cpu, "p50": 1.0, "p99": 2.0, "first": 0.5, "rate": 10.0}


JSON = {
    "samples": {
        "nginx": [sample(0, 10), sample(2, 20)],  # the second round failed
        "headrace": [sample(0, 50), sample(1, 1e6), sample(2, 120)],
    },
    "missing": {"litellm": "no network"},
}
KEYS = {"points": [{"x": 1.0, "cpu": 5.0}, {"x": 10.0, "cpu": 5.0}]}
WAIT = {"row": {name: {"p50": 1.0, "p90": 2.0, "p99": 3.0} for name in FIGURES} | {"tokens": {"a second": 9.0}}}


def test_a_step_that_fails_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    def fail() -> dict[str, Any]:
        raise BenchmarkError("no memory")

    steps = [
        Step(
            "beside", "one process", lambda: {"json-32": JSON, "json-1": {"samples": {}, "missing": {"router": "500"}}}
        ),
        Step("scale", "streams", fail),
        Step("scale", "keys", lambda: {"keys": KEYS}),
        Step("client", "aiperf", lambda: {"4": WAIT}),
    ]
    assert run(steps, tmp_path / "page") == ["json-1 by router: 500", "streams: no memory"]
    page.write(samples.read(tmp_path / "page"), tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| headrace | 120.0 | 5.50 (5.00 – 6.00) | 1.00 | 2.00 | 0.50 |" in text
    assert "not measured: litellm: no network" in text
    assert "x^0.00" in (tmp_path / "page" / "keys.svg").read_text()
    assert "| 4 | 1.0 | 3.0 | 1.0 | 3.0 | 1.0 | 3.0 | 9.0 |" in text


@pytest.mark.parametrize(("afresh", "left"), [(False, {"keys", "prompts", "workers"}), (True, {"prompts", "workers"})])
def test_only_a_whole_run_begins_afresh(tmp_path: Path, afresh: bool, left: set[str]) -> None:
    run([Step("scale", "keys", lambda: {"keys": KEYS})], tmp_path)
    steps = [Step("scale", "prompts", lambda: {"prompts": KEYS}), Step("scale", "workers", lambda: {"workers": KEYS})]
    run(steps, tmp_path, afresh=afresh)
    assert samples.read(tmp_path)["scale"]["measured"].keys() == left


def test_nothing_measured_makes_no_page(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="nothing was measured"):
        page.write(samples.read(tmp_path), tmp_path / "page.md")


def test_who_fails_under_a_load_is_told_once_and_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def one(program: Path, target: Target, load: Load) -> dict[str, float]:
        asked.append((target.name, load.key))
        if (target.name, load.key, len(asked) > 4) == ("nginx", "json-32", True):
            raise BenchmarkError("it is gone")
        return {"cpu": 1.0}

    monkeypatch.setattr(beside, "_start", lambda *_: [Target("nginx", {}), Target("headrace", {})])
    monkeypatch.setattr(beside, "_sample", one)
    found = beside.measure(tmp_path, 3, 1, ["json-1", "json-32"], ["nginx", "headrace"])
    assert found["json-1"]["missing"] == {}
    assert found["json-32"]["missing"] == {"nginx": "it is gone"}
    assert [sample["round"] for sample in found["json-32"]["samples"]["nginx"]] == [0]
    assert [sample["round"] for sample in found["json-32"]["samples"]["headrace"]] == [0, 1, 2]
    assert asked.count(("nginx", "json-32")) == 2

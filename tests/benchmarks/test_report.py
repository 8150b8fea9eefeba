"""What the report is made of: slopes, plots, tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.report import page, plot
from benchmarks.soak import churn


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_a_slope_is_the_exponent(exponent: float) -> None:
    assert plot.slope([(x, 3 * x**exponent) for x in (1, 10, 100, 5000)]) == pytest.approx(exponent)


def test_a_plot_names_its_lines_and_their_slopes() -> None:
    text = plot.draw("Cost & load", "streams", "µs", {"linear": [(1, 2), (10, 20)], "one": [(1, 7)]})
    tree = ElementTree.fromstring(text)
    words = [node.text for node in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Cost & load", "streams", "µs", "linear (x^1.00)", "one"} <= set(words)


def sample(cpu: float) -> dict[str, float]:
    return {"cpu": cpu, "p50": 1.0, "p99": 2.0, "first": 0.5, "rate": 10.0}


def test_ratios_are_taken_within_rounds_and_who_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(page, "FOLDER", tmp_path / "plots")
    loads = {"json-32": {"nginx": [sample(10), sample(20)], "headrace": [sample(50), sample(120)]}}
    part: dict[str, Any] = {"about": {"machine": "this one"}, "loads": loads, "rounds": 2, "load_average": [0.1, 2.0]}
    points = [{"x": 1.0, "cpu": 5.0}, {"x": 10.0, "cpu": 5.0}]
    scale = {"about": part["about"], "points": {"keys": points}, "load_average": [0.1, 2.0]}
    page.write({"beside": {**part, "missing": {"litellm": "no network"}}, "scale": scale})
    text = page.PAGE.read_text()
    assert "| headrace | 85.0 | 5.50 (5.00 – 6.00) | 1.00 | 2.00 | 0.50 |" in text
    assert "not measured: litellm: no network" in text
    assert "x^0.00" in (page.FOLDER / "keys.svg").read_text()


def rounds(memory: float = 0.0, descriptors: float = 0.0, latency: float = 0.0) -> list[churn.Round]:
    """A day of them, which grow by so much a round."""
    return [
        churn.Round(n * 1000, {"api": 100 + n * memory}, int(50 + n * descriptors), 1.0 + n * n * latency)
        for n in range(100)
    ]


@pytest.mark.parametrize(
    ("grows", "what"), [({}, ""), ({"memory": 1}, "api"), ({"descriptors": 1}, "descr"), ({"latency": 1}, "latency")]
)
def test_the_soak_says_what_is_not_flat(grows: dict[str, float], what: str) -> None:
    wrong = churn.verdict(rounds(**grows))
    assert [what in line for line in wrong] == ([True] if what else [])

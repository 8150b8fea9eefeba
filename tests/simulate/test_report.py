"""The report from made-up results, its pictures, and the command."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from headrace.cli import app
from headrace.errors import ConfigError
from headrace.simulate import report, suite
from headrace.simulate.outcome import NEVER, Outcome
from headrace.simulate.suite import Key, Result
from headrace.simulate.svg import Panel, draw


def outcome(key: Key) -> Outcome:
    """Ours is the best but for the flood."""
    ours = key.rule == "latency"
    late = 3.0 if ours and key.scenario == "flood" else 1.0 if ours else 2.0
    return Outcome(
        requests=10,
        offered=1.0,
        ttft_p50=0.1,
        ttft_p99=late,
        goodput=0.99 if ours else 0.9,
        failed=0.0,
        hit_rate=0.5,
        fairness=1.0,
        imbalance=1.5,
        preempted=0,
    )


def results() -> list[Result]:
    return [Result(key, outcome(key)) for key in suite.report_keys((1,))]


def test_report_goes_between_the_marks_of_its_page_and_leaves_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "simulator.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    written = report.write(results(), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "Behind the best of the others: flood, first token p99, s: cache_aware 2.00, ours 3.00." in text
    assert "| latency | 99.0 |" in text
    for path in written[1:]:
        ElementTree.parse(path)
        assert str(path.relative_to(tmp_path)) in text


def test_page_without_marks_is_not_overwritten(tmp_path: Path) -> None:
    page = tmp_path / "simulator.md"
    page.write_text("mine\n")
    with pytest.raises(ConfigError, match="no place for the report"):
        report.write(results(), page)
    assert page.read_text() == "mine\n"


def test_results_that_a_file_has_are_not_run_again(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    keys = [Key("light", "chat", "gpu-assumed", rule, 2, 1, 1.0, 1, 12) for rule in ("latency", "llm-d")]
    done: list[None] = []
    first = suite.run_all(keys[:1], 1, file, lambda: done.append(None))
    known = file.read_bytes()
    both = suite.run_all(keys, 1, file, lambda: done.append(None))
    assert len(done) == 3
    assert both[0] == first[0]
    assert file.read_bytes().startswith(known)
    file.write_text("no results\n")
    with pytest.raises(ConfigError, match="no results of a simulation"):
        suite.run_all(keys, 1, file, lambda: None)


def test_who_never_answers_is_told_so() -> None:
    assert report.seconds(NEVER) == "never"
    assert report.seconds(0.123) == "0.12"


def test_pictures_have_a_line_for_each_rule_and_escape_their_names() -> None:
    picture = draw("a < b", ["1", "4"], "routers", [Panel("8", {"x&y": [1, 2], "z": [0.5, 0.1]})], log=True)
    root = ElementTree.fromstring(picture)
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 4  # and the legend's
    heights = [float(pair.split(",")[1]) for pair in lines[0].attrib["points"].split()]
    assert heights[0] > heights[1]  # more is higher up


def test_command_compares_what_it_is_asked_for() -> None:
    shown = CliRunner().invoke(
        app, ["simulate", "--scenario", "chat", "--workers", "2", "--requests", "12", "--rule", "latency"]
    )
    assert shown.exit_code == 0
    assert "2 workers, 1 router(s), conversations, seed 1; engine gpu-assumed (assumed)" in shown.stdout


def test_command_refuses_what_it_does_not_know() -> None:
    shown = CliRunner().invoke(app, ["simulate", "--rule", "nothing"])
    assert isinstance(shown.exception, ConfigError)

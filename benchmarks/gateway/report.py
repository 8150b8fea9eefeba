"""The figures as a table for people and as JSON for programs."""

from __future__ import annotations

import platform
import runpy
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gateway.columns import Column
from benchmarks.gateway.rounds import Results, Sample
from benchmarks.gateway.summary import NOISY, Summary, differences, ratios

_SPEED = Path(__file__).parents[2] / "scripts" / "speed.py"
_NO_YARDSTICK = "nginx is not installed: absolute figures only (Debian: apt install nginx-light)"


def comparison(column: Column, samples: dict[str, list[Sample]], target: str) -> Summary | None:
    """What the goal is about: times nginx's, or milliseconds on top of the direct way; None without a yardstick."""
    baseline = "direct" if column.key == "latency" else "nginx"
    if baseline not in samples or target == baseline:
        return None
    compare = differences if column.key == "latency" else ratios
    return Summary.of(compare(_values(samples[target]), _values(samples[baseline])))


def table(column: Column, samples: dict[str, list[Sample]]) -> str:
    """One column's figures."""
    against = "added" if column.key == "latency" else "× nginx"
    lines = [
        f"{column.title}: {column.unit}",
        f"  {'':12}{'min':>9}{'median':>9}{'spread':>9}{'per s':>9}   {against} (lowest – highest round)",
    ]
    for target, rounds in samples.items():
        versus = comparison(column, samples, target)
        note = f"   {versus.median:.2f} ({versus.low:.2f} – {versus.high:.2f})" if versus else ""
        rate = f"{median(sample.rate for sample in rounds):9,.0f}"
        lines.append(_row(target, Summary.of(_values(rounds)), rate) + note)
        services = rounds[0].parts if len(rounds[0].parts) > 1 else {}
        lines += [_row(f"  {name}", Summary.of([sample.parts[name] for sample in rounds])) for name in services]
    return "\n".join([*lines, f"  {verdict(column, samples)}"])


def verdict(column: Column, samples: dict[str, list[Sample]]) -> str:
    """The goal beside the figure."""
    versus = comparison(column, samples, "headrace")
    if versus is None:
        return _NO_YARDSTICK
    goal = f"{column.goal:g} ms" if column.key == "latency" else f"{column.goal:g} × nginx"
    return f"goal: at most {goal}; measured {versus.median:.2f}: {'met' if versus.median <= column.goal else 'MISSED'}"


def noise(columns: Iterable[Column], results: Results) -> str:
    """Which figures not to trust; empty on a quiet machine."""
    loud = [
        f"{column.key} via {target} ({summary.spread:.0%})"
        for column in columns
        for target, rounds in results[column.key].items()
        if (summary := Summary.of(_values(rounds))).noisy
    ]
    if not loud:
        return ""
    return (
        f"The machine is noisy: these vary by more than {NOISY:.0%} between rounds: {', '.join(loud)}.\n"
        "Ratios are taken round by round and suffer less; stop other programs or raise --rounds before you trust them."
    )


def python() -> str:
    """The interpreter, and how fast it is: that is what says how it was built, in the same run as the figures."""
    speed = runpy.run_path(str(_SPEED))["microseconds"]()
    return f"Python {platform.python_version()} of {sys.base_prefix}, {speed} µs for scripts/speed.py"


def document(columns: Iterable[Column], results: Results, about: dict[str, Any]) -> dict[str, Any]:
    """Everything that was measured, every round of it."""
    return {**about, "columns": {column.key: _entry(column, results[column.key]) for column in columns}}


def _entry(column: Column, samples: dict[str, list[Sample]]) -> dict[str, Any]:
    versus = {target: comparison(column, samples, target) for target in samples}
    return {"unit": column.unit, "goal": column.goal, "samples": samples, "compared": versus}


def _row(label: str, summary: Summary, rate: str = " " * 9) -> str:
    return f"  {label:12}{summary.low:9.2f}{summary.median:9.2f}{summary.spread:9.0%}{rate}"


def _values(samples: Sequence[Sample]) -> list[float]:
    return [sample.value for sample in samples]

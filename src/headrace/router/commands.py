"""What ``headrace router replay`` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from headrace.router.scheduling.replay import Side, read
from headrace.router.scheduling.replay import replay as make_again


def replay(log: Path, names: Sequence[str], profiles: Mapping[str, Mapping[str, float]]) -> None:
    """Compare each profile with what was recorded. Raises ConfigError for a wrong log or profile."""
    reports = [make_again(read(log), name, profiles) for name in names]
    console = Console()
    first = reports[0]
    console.print(f"{first.decisions} decisions, {first.compared} of them between several workers.", highlight=False)
    if not first.compared:
        return
    table = Table("profile", "same choice", "prompt cached", "load of the chosen", "expected first token p50 / p99")
    table.add_row("as recorded", "100.0 %", *_columns(first.recorded))
    for report in reports:
        table.add_row(report.profile, _percent(report.same / report.compared), *_columns(report.replayed))
    console.print(table)
    console.print(
        "Cached shares are the prefix index's belief; load is relative to the mean of the candidates; times are what a "
        "latency model that learned from this log expects of each choice, not what was measured.",
        highlight=False,
        soft_wrap=True,
    )


def _columns(side: Side) -> tuple[str, str, str]:
    expected = sorted(side.expected)
    p50, p99 = (expected[int(len(expected) * share)] * 1000 for share in (0.5, 0.99))
    return _percent(_mean(side.cached)), f"{_mean(side.load):.2f}", f"{p50:.0f} / {p99:.0f} ms"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

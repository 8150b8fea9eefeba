"""What ``headrace simulate`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from headrace.simulate import constants, report, rules, suite
from headrace.simulate.run import Cell, run
from headrace.simulate.scenario import named


def compare(
    scenario: str,
    names: Sequence[str],
    own: Mapping[str, Mapping[str, float]],
    *,
    engine: str,
    workers: int,
    routers: int,
    requests: int,
    load: float,
    seed: int,
) -> None:
    """Show what each rule makes of one scenario. Raises ConfigError for what does not exist."""
    console = Console()
    chosen, known = named(scenario), constants.load(engine)
    for name in names:
        rules.check(name, own)
    table = Table("rule", *(title for title, _ in report.FIGURES.values()))
    for name in names:
        outcome = run(Cell(chosen, known, name, workers, routers, seed, requests, load, own))
        table.add_row(name, *(show(getattr(outcome, figure)) for figure, (_, show) in report.FIGURES.items()))
    console.print(table)
    kind = "measured" if known.measured else "assumed"
    console.print(
        f"{workers} workers, {routers} router(s), {chosen.about}, seed {seed}; engine {known.name} ({kind}). Virtual "
        "time: computed, not measured.",
        highlight=False,
        soft_wrap=True,
    )


def make_report(page: Path, *, held_out: bool, jobs: int, results: Path | None) -> None:
    """Run everything that the report shows, and write it. Raises ConfigError."""
    console = Console(stderr=True)
    keys = list(suite.report_keys(suite.HELD_OUT if held_out else suite.TRAINING))
    with Progress(console=console) as progress:
        task = progress.add_task("runs", total=len(keys))
        found = suite.run_all(keys, jobs, results, lambda: progress.advance(task))
    for path in report.write(found, page):
        console.print(f"wrote {path}", highlight=False)

"""``headrace simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace import config as settings
from headrace.cli import options


def simulate(
    scenario: Annotated[
        str,
        typer.Option("--scenario", help="chat, shared, rag, mixed, bursts, uneven, crashes or flood."),
    ] = "mixed",
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", help="A profile, or the rule of another router; repeatable.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Workers.")] = 8,
    routers: Annotated[int, typer.Option("--routers", min=1, help="Routers.")] = 1,
    requests: Annotated[int, typer.Option("--requests", min=10, help="Requests for each worker, about.")] = 120,
    load: Annotated[float, typer.Option("--load", min=0.01, help="Times as much as the scenario has.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the requests.")] = 1,
    engine: Annotated[
        str, typer.Option("--engine", help="cpu-smollm2, gpu-assumed, or a file of constants.")
    ] = "gpu-assumed",
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Run everything and write it into this page.", show_default=False),
    ] = None,
    held_out: Annotated[bool, typer.Option("--held-out", help="For the report: seeds kept for the end.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="For the report: processes.")] = 2,
    results: Annotated[
        Path | None,
        typer.Option("--results", help="For the report: keep results here, and go on from them.", show_default=False),
    ] = None,
    config: options.Config = None,
) -> None:
    """Compare profiles, and the rules of other routers, on a modelled fleet in virtual time."""
    from headrace.simulate import commands, rules  # noqa: PLC0415

    if report is not None:
        commands.make_report(report, held_out=held_out, jobs=jobs, results=results)
        return
    commands.compare(
        scenario,
        rule or rules.NAMES,
        settings.load(settings.RouterSettings, file=config).profiles,
        engine=engine,
        workers=workers,
        routers=routers,
        requests=requests,
        load=load,
        seed=seed,
    )

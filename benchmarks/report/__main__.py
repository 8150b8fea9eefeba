"""``python -m benchmarks.report``: measure, and write docs/benchmarks.md; see docs/benchmarking.md."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import client
from benchmarks.gateway import loadbench
from benchmarks.gateway.loadbench import ROOT
from benchmarks.gateway.processes import BenchmarkError
from benchmarks.report import beside, page, samples, scale
from benchmarks.report.loads import BY_PROCESSES, LOADS
from benchmarks.report.steps import Step, run


def main() -> int:
    """The exit code: 1 where anything of Headrace could not be measured; the rest is in the page all the same."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--only", help=f"parts, of {', '.join(samples.PARTS)}; or 'page': only write the page anew")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds of each load")
    parser.add_argument("--loads", help=f"of {', '.join(load.key for load in LOADS)}")
    parser.add_argument("--names", help=f"who is measured, of {', '.join(beside.NAMES)}")
    parser.add_argument("--scale", help=f"what is made to grow, of {', '.join(scale.PARTS)}")
    options = parser.parse_args()
    began, failed = time.monotonic(), []
    whole = not (options.only or options.loads or options.names or options.scale)
    try:
        if options.only != "page":
            failed = run(_steps(loadbench.build(), options), afresh=whole)
        page.write(samples.read())
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"{page.PAGE.relative_to(ROOT)} is written, {(time.monotonic() - began) / 60:.1f} minutes")
    print("".join(f"bench: not measured: {line}\n" for line in failed), end="", file=sys.stderr)
    return 1 if failed else 0


def _steps(program: Path, options: argparse.Namespace) -> list[Step]:
    parts = _chosen("--only", options.only, samples.PARTS)
    names = _chosen("--names", options.names, beside.NAMES)
    loads = _chosen("--loads", options.loads, [load.key for load in LOADS])
    both = [key for key in BY_PROCESSES if key in loads]
    steps = [Step("beside", "one process each", partial(beside.measure, program, options.rounds, 1, loads, names))]
    if both:
        two = partial(beside.measure, program, options.rounds, 2, both, names)
        steps.append(Step("processes", "two processes each", two))
    for what in _chosen("--scale", options.scale, list(scale.PARTS)):
        steps.append(Step("scale", what, partial(_grow, program, what)))
    steps.append(Step("client", "aiperf on headrace up", _wait_as_users))
    return [step for step in steps if step.part in parts]


def _chosen(option: str, value: str | None, known: Sequence[str]) -> list[str]:
    chosen = value.split(",") if value else list(known)
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise BenchmarkError(f"{option}: there is no {', '.join(unknown)}; there are {', '.join(known)}")
    return chosen


def _grow(program: Path, what: str) -> dict[str, dict[str, Any]]:
    return {what: {"points": scale.PARTS[what](program)}}


def _wait_as_users() -> dict[str, dict[str, Any]]:
    return {str(clients): {"row": row} for clients, row in client.measure((1, 4))}


if __name__ == "__main__":
    sys.exit(main())

"""``python -m benchmarks.report``: measure, and write docs/benchmarks.md; see docs/benchmarking.md."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil

from benchmarks.gateway import loadbench, nginx, report
from benchmarks.gateway.loadbench import ROOT
from benchmarks.gateway.processes import BenchmarkError
from benchmarks.report import beside, page, rivals, scale
from benchmarks.report.loads import BY_PROCESSES, LOADS

PARTS = ("beside", "processes", "scale")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--only", help=f"parts, of {', '.join(PARTS)}; or 'page': only write the page anew")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds of each load")
    parser.add_argument("--loads", help=f"of {', '.join(load.key for load in LOADS)}")
    parser.add_argument("--names", default=",".join(beside.NAMES), help="who is measured")
    parser.add_argument("--scale", default=",".join(scale.PARTS), help="what is made to grow")
    options = parser.parse_args()
    try:
        _measure(options)
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    known = {part: msgspec.json.decode(page.path(part).read_bytes()) for part in PARTS if page.path(part).exists()}
    page.write(known)
    print(f"{page.PAGE.relative_to(ROOT)} is written")
    return 0


def _measure(options: argparse.Namespace) -> None:
    parts = options.only.split(",") if options.only else PARTS
    program = loadbench.build()
    names = options.names.split(",")
    for part in parts:
        if part == "beside":
            chosen = options.loads.split(",") if options.loads else [load.key for load in LOADS]
            _keep(part, beside.measure(program, options.rounds, 1, chosen, names))
        elif part == "processes":
            _keep(part, beside.measure(program, options.rounds, 2, BY_PROCESSES, names))
        elif part == "scale":
            for what in options.scale.split(","):  # each is kept, should the next one fail
                _keep(part, scale.measure(program, [what]))


def _keep(part: str, found: dict[str, Any]) -> None:
    """Loads that were not measured anew stay as they were."""
    page.FOLDER.mkdir(exist_ok=True)
    if page.path(part).exists():
        former = msgspec.json.decode(page.path(part).read_bytes())
        for kind in found.keys() & {"loads", "points"}:
            found[kind] = {**former[kind], **found[kind]}
    data = msgspec.json.encode({"about": _about(), **found})
    page.path(part).write_bytes(msgspec.json.format(data, indent=1) + b"\n")


def _about() -> dict[str, str]:
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    memory = psutil.virtual_memory().total / (1 << 30)
    commit = _said(["git", "rev-parse", "--short", "HEAD"])
    versions = ", ".join(f"{name} {version}" for name, version in rivals.versions().items())
    return {
        "machine": f"{os.cpu_count()} cores of {cpu.partition(': ')[2]}, {memory:.0f} GiB, {platform.release()}",
        "Python": report.python(),
        "Headrace": f"commit {commit}",
        "nginx": _said([nginx.binary() or "nginx", "-v"]).rpartition("/")[2] or "none",
        "others": versions,
    }


def _said(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, cwd=ROOT, timeout=10, check=False)
    except OSError:
        return ""
    return (done.stdout or done.stderr).decode(errors="replace").strip()


if __name__ == "__main__":
    sys.exit(main())

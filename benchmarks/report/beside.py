"""Headrace beside its rivals: interleaved rounds of each load."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gateway import loadbench, stack
from benchmarks.gateway.loadbench import Outcome
from benchmarks.gateway.processes import BenchmarkError, Processes
from benchmarks.gateway.stack import Target
from benchmarks.report import rivals
from benchmarks.report.loads import LOADS, PACES, Load

NAMES = ("direct", "nginx", "headrace", "router", "vllm-router", "sglang-router", "litellm")


def measure(program: Path, rounds: int, count: int, chosen: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """All samples, by load and target: the rounds' CPU microseconds a unit, and milliseconds; and who is missing."""
    loads = [load for load in LOADS if load.key in chosen]
    missing: dict[str, str] = {}
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Processes(Path(folder)) as processes:
        targets = _start(processes, program, count, names, missing)
        for number in range(rounds):
            for load in loads:
                for target in targets:
                    _progress(f"round {number + 1}/{rounds}, {count} process(es): {load.key} by {target.name}")
                    sample = _sample(program, target, load, missing)
                    if sample is not None:
                        found.setdefault(load.key, {}).setdefault(target.name, []).append(sample)
    return {"loads": found, "missing": missing, "load_average": [before, os.getloadavg()[0]], "rounds": rounds}


def _start(
    processes: Processes, program: Path, count: int, names: Sequence[str], missing: dict[str, str]
) -> list[Target]:
    base = stack.start(processes, program, count, paces=PACES)
    targets: dict[str, Target] = {"direct": base.direct, "headrace": base.headrace}
    if base.nginx is not None:
        targets["nginx"] = base.nginx
    else:
        missing["nginx"] = "not installed (Debian: apt install nginx-light)"
    workers = {model: int(url.rpartition(":")[2]) for model, url in base.direct.urls.items()}
    others = [name for name in names if name not in ("direct", "nginx", "headrace")]
    try:
        rivals.install()
    except BenchmarkError as error:
        missing |= dict.fromkeys([name for name in others if name != "router"], str(error))
        others = [name for name in others if name == "router"]
    for name in others:
        try:
            targets[name] = rivals.start(name, processes, workers, count)
        except BenchmarkError as error:
            missing[name] = str(error)
    return [targets[name] for name in names if name in targets]


def _sample(program: Path, target: Target, load: Load, missing: dict[str, str]) -> dict[str, float] | None:
    """None where a rival fails under this load, which is noted; ours may not."""
    flags = load.arguments(0.1 if rivals.slow(target.name) else 1.0)
    headers = {name: value.format(model=load.model) for name, value in target.headers.items()}
    pids = list(target.services.values())
    try:
        outcome = loadbench.load(program, target.urls[load.model], flags, key=target.key, pids=pids, headers=headers)
    except BenchmarkError as error:
        if target.name in ("headrace", "router", "direct"):
            raise
        missing[f"{target.name}, {load.title}"] = str(error)[:200]
        return None
    return figures(outcome)


def figures(outcome: Outcome) -> dict[str, float]:
    """``cpu``: µs a request, or of a stream a chunk; ``p50``, ``p99``: ms of whole requests; ``first``: ms."""
    total, first = outcome.total_ms, outcome.ttfb_ms
    return {
        "cpu": sum(outcome.cpu_us.values()) / (outcome.chunks or outcome.requests),
        "p50": total.p50 if total else 0.0,
        "p99": total.p99 if total else 0.0,
        "first": first.p50 if first else 0.0,
        "rate": outcome.chunks_per_s if outcome.chunks else outcome.rps,
    }


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

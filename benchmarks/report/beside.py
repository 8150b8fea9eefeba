"""Headrace beside its rivals: interleaved rounds of each load."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gateway import loadbench, stack
from benchmarks.gateway.loadbench import Outcome
from benchmarks.gateway.processes import BenchmarkError, Processes
from benchmarks.gateway.stack import Target
from benchmarks.report import rivals
from benchmarks.report.environment import progress
from benchmarks.report.loads import LOADS, PACES, Load

NAMES = ("direct", "nginx", "headrace", "router", "vllm-router", "sglang-router", "litellm")


def measure(
    program: Path, rounds: int, count: int, chosen: Sequence[str], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """By load: each target's ``samples``, one a round (``figures``), and who is ``missing``, with the reason."""
    loads = [load for load in LOADS if load.key in chosen]
    absent: dict[str, str] = {}
    samples: dict[str, dict[str, list[dict[str, float]]]] = {load.key: {} for load in loads}
    failed: dict[str, dict[str, str]] = {load.key: {} for load in loads}
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Processes(Path(folder)) as processes:
        targets = _start(processes, program, count, names, absent)
        for number in range(rounds):
            for load, target in itertools.product(loads, targets):
                if target.name in failed[load.key]:
                    continue
                progress(f"round {number + 1}/{rounds}, {count} process(es): {load.key} by {target.name}")
                try:
                    sample = _sample(program, target, load)
                except BenchmarkError as error:
                    progress(f"  failed: {error}")
                    failed[load.key][target.name] = str(error)
                else:
                    samples[load.key].setdefault(target.name, []).append({"round": number, **sample})
    return {key: {"samples": samples[key], "missing": absent | failed[key]} for key in samples}


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


def _sample(program: Path, target: Target, load: Load) -> dict[str, float]:
    flags = load.arguments(0.1 if rivals.slow(target.name) else 1.0)
    headers = {name: value.format(model=load.model) for name, value in target.headers.items()}
    pids = list(target.services.values())
    outcome = loadbench.load(program, target.urls[load.model], flags, key=target.key, pids=pids, headers=headers)
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

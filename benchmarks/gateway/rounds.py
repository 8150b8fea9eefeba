"""Runs the columns against the targets, interleaved, and keeps every sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway import loadbench
from benchmarks.gateway.columns import Column, Key
from benchmarks.gateway.loadbench import Outcome
from benchmarks.gateway.stack import Stack, Target


@dataclass(frozen=True, slots=True)
class Sample:
    """One target in one round."""

    value: float
    """In the column's unit."""
    rate: float
    """Requests, or of a stream chunks, per second."""
    parts: dict[str, float]
    """The value by service, where CPU is measured."""


Results = dict[Key, dict[str, list[Sample]]]
"""Samples by column and target, in the order of the rounds."""


def targets(stack: Stack, column: Column) -> list[Target]:
    """Nothing of the direct way is under test, so it has no CPU column."""
    direct = [stack.direct] if column.key == "latency" else []
    yardstick = [stack.nginx] if stack.nginx is not None else []
    return [*direct, *yardstick, stack.headrace]


def measure(
    binary: Path, stack: Stack, columns: Iterable[Column], rounds: int, quick: bool, progress: Callable[[str], None]
) -> Results:
    """A B A B …: what else happens on the machine hits all targets alike. Raises BenchmarkError on any wrong answer."""
    results: Results = {}
    chosen = list(columns)
    for number in range(1, rounds + 1):
        for column in chosen:
            for target in targets(stack, column):
                progress(f"round {number}/{rounds}: {column.key} via {target.name}")
                outcome = run(binary, target, column, quick)
                samples = results.setdefault(column.key, {}).setdefault(target.name, [])
                samples.append(sample(column, target, outcome))
    return results


def run(binary: Path, target: Target, column: Column, quick: bool) -> Outcome:
    """One load of ``column`` on ``target``."""
    flags = column.arguments(quick)
    pids = list(target.services.values())
    return loadbench.load(binary, target.urls[column.model], flags, key=target.key, pids=pids)


def sample(column: Column, target: Target, outcome: Outcome) -> Sample:
    if column.key == "latency":
        return Sample(outcome.total_ms.p50 if outcome.total_ms else 0.0, outcome.rps, {})
    parts = cpu(target, outcome)
    return Sample(sum(parts.values()), outcome.chunks_per_s if outcome.chunks else outcome.rps, parts)


def cpu(target: Target, outcome: Outcome) -> dict[str, float]:
    """Microseconds per request, or of a stream per chunk, by service."""
    units = outcome.chunks or outcome.requests
    return {service: outcome.cpu_us[str(pid)] / units for service, pid in target.services.items()}

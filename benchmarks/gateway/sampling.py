"""Where the time goes: each service under load, sampled by CPU time, its functions ranked in microseconds."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.gateway import rounds, sampled, stack
from benchmarks.gateway.columns import Column
from benchmarks.gateway.loadbench import ROOT
from benchmarks.gateway.processes import Processes

_OUT = ROOT / "benchmarks" / "out"
_SHOWN = 30
_LOADS = 3


def profile(binary: Path, column: Column) -> str:
    """Start everything once more, put ``column``'s load on Headrace, rank. Raises BenchmarkError."""
    samples = _OUT / column.key
    samples.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Processes(Path(folder)) as processes:
        headrace = stack.start(processes, binary, 1, samples).headrace
        for pid in headrace.services.values():
            os.kill(pid, sampled.BEGIN)
        costs = [rounds.cpu(headrace, rounds.run(binary, headrace, column, quick=False)) for _ in range(_LOADS)]
    texts = []
    for service in costs[0]:
        file = samples / f"{service}.stacks"
        cost = sum(cost[service] for cost in costs) / _LOADS
        texts.append(f"{column.key}, {service}: µs CPU, sampled ({file.relative_to(ROOT)})")
        texts.append(ranking(file.read_text(encoding="utf-8").splitlines(), cost))
    return "\n".join(texts)


def ranking(stacks: Iterable[str], microseconds: float) -> str:
    """The functions that cost most, from collapsed stacks (``outer;inner count``), ``microseconds`` in all."""
    own: Counter[str] = Counter()
    below: Counter[str] = Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        names = frames.split(";")
        own[names[-1]] += int(count)
        below.update(dict.fromkeys(set(names), int(count)))
    total = sum(own.values()) or 1
    lines = [f"  {'self':>8}{'with calls':>12}"]
    for name, samples in own.most_common(_SHOWN):
        lines.append(f"  {samples / total * microseconds:8.2f}{below[name] / total * microseconds:12.2f}  {name}")
    return "\n".join(lines)

"""The tables: medians of the rounds with their spread, and each part beside a reference of the same round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.bert.server import Timing


def table(rounds: Mapping[str, Sequence[Timing]], texts: int, references: Mapping[str, str]) -> str:
    """A line a part. ``references`` are short names of parts that all others are divided by, round by round."""
    lines = [
        f"{'':44}{'texts/s':>18}{'CPU ms a text':>20}" + "".join(f"{'x ' + short:>19}" for short in references.values())
    ]
    for name, timings in rounds.items():
        rates = [texts / timing.wall for timing in timings]
        costs = [timing.cpu / texts * 1000 for timing in timings]
        ratios = [
            [theirs.wall / ours.wall for ours, theirs in zip(timings, rounds[reference], strict=True)]
            for reference in references
        ]
        cells = f"{spread(rates, 0):>18}{spread(costs, 2):>20}"
        lines.append(f"{name:44}{cells}" + "".join(f"{spread(ratio, 2):>19}" for ratio in ratios))
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int) -> str:
    """``median (least-most)``"""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"

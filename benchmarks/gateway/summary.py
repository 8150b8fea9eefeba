"""Rounds of one figure, summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

NOISY = 0.15
"""A spread above this means that something else used the machine meanwhile."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Minimum, median and maximum, in the unit of the values."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        return cls(min(values), median(values), max(values))

    @property
    def spread(self) -> float:
        """(maximum - minimum) / median, a fraction; 0 where the median is 0."""
        return (self.high - self.low) / self.median if self.median else 0.0

    @property
    def noisy(self) -> bool:
        return self.spread > NOISY


def ratios(values: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Round by round: what slowed a whole round down is in both and cancels out."""
    return [value / base for value, base in zip(values, baseline, strict=True)]


def differences(values: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Round by round, as ``ratios``."""
    return [value - base for value, base in zip(values, baseline, strict=True)]

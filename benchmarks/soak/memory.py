"""Resident memory of process trees, and whether it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """What a service's processes held after ``requests``, in MiB."""

    requests: int
    resident: float


def resident(pid: int) -> float:
    """MiB of the process and its children."""
    root = psutil.Process(pid)
    total: int = sum(process.memory_info().rss for process in (root, *root.children(recursive=True)))
    return total / MIB


def growth(samples: Sequence[Sample]) -> float:
    """MiB for a million requests, by the least squares line through the second half.

    The first half fills pools, caches and the allocator's own reserves, which are bounded; a leak goes on.
    """
    half = samples[len(samples) // 2 :]
    mean_x = sum(one.requests for one in half) / len(half)
    mean_y = sum(one.resident for one in half) / len(half)
    spread = sum((one.requests - mean_x) ** 2 for one in half)
    if not spread:
        return 0.0
    return sum((one.requests - mean_x) * (one.resident - mean_y) for one in half) / spread * 1e6

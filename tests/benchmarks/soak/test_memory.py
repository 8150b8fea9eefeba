"""Judging whether memory grows."""

from __future__ import annotations

import os

from benchmarks.soak.memory import Sample, growth, resident


def test_only_what_goes_on_is_growth() -> None:
    warm = [Sample(number * 25_000, min(80.0, 50 + number)) for number in range(1, 81)]
    assert growth(warm) == 0
    leaking = [Sample(one.requests, one.resident + one.requests * 20e-6) for one in warm]
    assert round(growth(leaking)) == 20
    assert growth(warm[:1]) == 0


def test_resident_memory_is_that_of_the_tree() -> None:
    assert 1 < resident(os.getpid()) < 100_000

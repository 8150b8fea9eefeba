"""The measured pace, against a clock that is moved by hand."""

from __future__ import annotations

import pytest

from headrace.router.flow.drain_rate import LEAST, MOST, DrainRate


def at_pace(per_second: float, seconds: int) -> DrainRate:
    """A pool that has worked for ``seconds``, without a pause."""
    rate = DrainRate()
    rate.resume(0.0)
    for number in range(1, int(seconds * per_second) + 1):
        rate.record(number / per_second)
    return rate


def test_rate_is_what_was_finished_lately() -> None:
    rate = at_pace(2, 120)
    assert rate.rate(120.0) == pytest.approx(2.0, rel=0.1)
    assert rate.retry_after(19, 120.0) == pytest.approx(10, rel=0.15)


def test_short_past_is_not_a_slow_one() -> None:
    assert at_pace(10, 2).rate(2.0) == pytest.approx(10, rel=0.1)


def test_idle_time_does_not_count() -> None:
    rate = at_pace(10, 60)
    rate.resume(10_000.0)
    assert rate.rate(10_000.0) == pytest.approx(10, rel=0.1)


def test_standstill_slows_it_down() -> None:
    rate = at_pace(10, 60)
    assert rate.rate(60.0 + 30.0) < 5
    assert rate.rate(60.0) == pytest.approx(10, rel=0.1)  # looking changes nothing


def test_retry_after_has_bounds() -> None:
    rate = at_pace(100, 60)
    assert rate.retry_after(0, 60.0) == LEAST
    assert rate.retry_after(1_000_000, 60.0) == MOST


def test_retry_after_before_anything_was_finished() -> None:
    assert LEAST < DrainRate().retry_after(1000, 5.0) < MOST

"""The figures that are compared."""

from __future__ import annotations

import math

import pytest

from headrace.simulate.outcome import NEVER, fairness, is_good, measure, quantile, water_level
from headrace.simulate.request import Request
from headrace.simulate.workloads.flood import ABUSER
from tests.simulate.engines import ROUND, request


def done(
    tenant: str = "t", *, arrived: float = 0.0, ttft: float = 1.0, tokens: int = 11, token: float = 1.0
) -> Request:
    made = request("a", 89, tokens, tenant=tenant)
    made.arrived, made.first = arrived, arrived + ttft
    made.finished = made.first + token * (tokens - 1)
    return made


def test_quantiles_are_values_that_occurred() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99)) == (50.0, 99.0)
    assert quantile([3.0], 0.99) == 3.0


def test_good_is_finished_and_in_time_in_both_ways() -> None:
    assert is_good(done(), ROUND)
    assert not is_good(done(ttft=11), ROUND)
    assert not is_good(done(token=6), ROUND)
    broken = done()
    broken.finished = math.inf
    assert not is_good(broken, ROUND)


def test_failures_count_as_infinitely_late_and_as_not_good() -> None:
    lost = request("a", 100, 1)
    seen = measure([done(), done(), lost], ROUND, begin=0, end=1, imbalance=1.0, preempted=0)
    assert seen.ttft_p50 == 1.0
    assert seen.ttft_p99 == NEVER
    assert seen.goodput == pytest.approx(2 / 3)
    assert seen.failed == pytest.approx(1 / 3)


def test_only_what_came_in_the_measured_time_counts_and_only_the_others_where_one_floods() -> None:
    requests = [
        done(arrived=0.0, ttft=9),
        done(arrived=2.0),
        done(ABUSER, arrived=2.0, ttft=9),
        done(arrived=5.0, ttft=9),
    ]
    seen = measure(requests, ROUND, begin=1, end=4, imbalance=1.0, preempted=0)
    assert (seen.requests, seen.ttft_p99) == (1, 1.0)


def test_water_level_serves_small_wishes_and_divides_the_rest() -> None:
    assert water_level({"a": 1.0, "b": 10.0, "c": 10.0}, 11.0) == 5.0
    assert water_level({"a": 1.0, "b": 2.0}, 10.0) == 2.0


def test_who_asks_for_too_much_does_not_make_it_unfair_but_who_is_starved_does() -> None:
    good = [done("a"), done("b"), *(done("greedy") for _ in range(1))]
    refused = [request("x", 89, 11, tenant="greedy") for _ in range(20)]
    assert fairness(good + refused, ROUND) == pytest.approx(1.0)
    starved = [done("a"), done("greedy"), *refused, request("x", 89, 11, tenant="b")]
    assert fairness(starved, ROUND) == pytest.approx(2 / 3)

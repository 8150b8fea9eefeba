"""The tables of the embedding benchmark."""

from __future__ import annotations

from benchmarks.bert.report import spread, table
from benchmarks.bert.server import Timing


def test_ratios_are_taken_within_a_round() -> None:
    rounds = {"bare": [Timing(1.0, 1.0), Timing(4.0, 1.0)], "ours": [Timing(2.0, 3.0), Timing(2.0, 1.0)]}
    _, bare, ours = table(rounds, 10, {"bare": "bare"}).splitlines()
    assert bare.endswith("1.00 (1.00-1.00)")
    assert ours.endswith("1.25 (0.50-2.00)")
    assert "5 (5-5)" in ours
    assert "200.00 (100.00-300.00)" in ours


def test_spread_is_the_median_between_the_extremes() -> None:
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0-3.0)"

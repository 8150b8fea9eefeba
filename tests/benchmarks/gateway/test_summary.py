import pytest

from benchmarks.gateway.summary import NOISY, Summary, differences, ratios


def test_the_spread_is_relative_to_the_median() -> None:
    summary = Summary.of([12.0, 10.0, 8.0])
    assert (summary.low, summary.median, summary.high) == (8.0, 10.0, 12.0)
    assert summary.spread == pytest.approx(0.4)


def test_a_spread_above_the_threshold_is_noise() -> None:
    assert Summary.of([1.0, 1.0, 1.0 + 2 * NOISY]).noisy
    assert not Summary.of([1.0, 1.0, 1.0 + NOISY / 2]).noisy


def test_a_median_of_zero_has_no_spread() -> None:
    assert Summary.of([0.0, 0.0, 5.0]).spread == 0.0


def test_ratios_are_taken_round_by_round() -> None:
    # The second round was twice as slow for both: no figure of the summary may show it.
    assert ratios([50.0, 100.0], [10.0, 20.0]) == [5.0, 5.0]


def test_differences_are_taken_round_by_round() -> None:
    assert differences([0.5, 1.5], [0.25, 1.25]) == [0.25, 0.25]


def test_rounds_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])

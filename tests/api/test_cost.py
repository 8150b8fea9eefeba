from __future__ import annotations

import pytest

from headrace.api.cost import Cost, Estimator


def test_the_header() -> None:
    assert Cost(12, 256).header() == b"12,256"


def test_the_first_estimate_is_from_the_defaults() -> None:
    assert Estimator().estimate("m", 4001) == Cost(1001, 256)


def test_the_output_is_capped_and_times_sequences() -> None:
    assert Estimator().estimate("m", 4, sequences=3, output_cap=10) == Cost(1, 30)
    assert Estimator().estimate("m", 4, sequences=3, output_cap=1000) == Cost(1, 768)


def test_an_embedding_has_no_output() -> None:
    assert Estimator().estimate("m", 400, sequences=0) == Cost(100, 0)


def test_media_have_a_fixed_cost() -> None:
    assert Estimator().estimate("m", 4, media=2, sequences=0) == Cost(2049, 0)


def test_bytes_per_token_are_learned_per_model() -> None:
    estimator = Estimator()
    for _ in range(200):
        estimator.learn("a", 3000, 1500)
    assert estimator.bytes_per_token("a") == pytest.approx(2.0, rel=0.01)
    assert estimator.bytes_per_token("b") == 4.0


def test_long_prompts_weigh_more_than_short_ones() -> None:
    estimator = Estimator()
    for _ in range(100):
        estimator.learn("m", 10, 30)  # mostly the template
        estimator.learn("m", 40_000, 10_000)
    assert estimator.bytes_per_token("m") == pytest.approx(4.0, rel=0.05)


def test_the_output_is_learned_per_sequence() -> None:
    estimator = Estimator()
    for _ in range(600):
        estimator.learn("m", 400, 100, sequences=2, output_tokens=80)
    assert estimator.estimate("m", 4) == Cost(1, 41)


def test_one_wrong_count_moves_an_estimate_only_so_far() -> None:
    estimator = Estimator()
    estimator.learn("high", 10**9, 1)
    estimator.learn("low", 1, 10**9)
    assert estimator.bytes_per_token("high") == 32.0
    assert estimator.bytes_per_token("low") == 0.5


def test_counts_that_cannot_be_are_ignored() -> None:
    estimator = Estimator()
    estimator.learn("m", 0, 5)
    estimator.learn("m", 5, 0)
    assert estimator.bytes_per_token("m") == 4.0


def test_the_oldest_model_makes_room() -> None:
    estimator = Estimator(models=2)
    for model in ("a", "b", "c"):
        for _ in range(50):
            estimator.learn(model, 2000, 1000)
    assert estimator.bytes_per_token("a") == 4.0
    assert estimator.bytes_per_token("c") == pytest.approx(2.0, rel=0.05)

"""The verdict of a soak: what grows is told, and a slow machine alone is not."""

from __future__ import annotations

import pytest

from benchmarks.soak import churn


def rounds(memory: float = 0.0, descriptors: float = 0.0, latency: float = 0.0) -> list[churn.Round]:
    """A day of them, which grow by so much a round, on a machine that gets slower."""
    return [
        churn.Round(
            n * 1000,
            {"api": 100 + n * memory},
            int(50 + n * descriptors),
            p50=1.0,
            alone=(1.0 + n * latency) * (1 + n / 5),
            yardstick=0.2 * (1 + n / 5),
        )
        for n in range(100)
    ]


@pytest.mark.parametrize(
    ("grows", "what"), [({}, ""), ({"memory": 1}, "api"), ({"descriptors": 1}, "descr"), ({"latency": 1}, "latency")]
)
def test_the_soak_says_what_is_not_flat(grows: dict[str, float], what: str) -> None:
    wrong = churn.verdict(rounds(**grows))
    assert [what in line for line in wrong] == ([True] if what else [])

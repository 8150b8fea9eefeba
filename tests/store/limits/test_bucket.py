"""The bucket against the recursion that defines it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.store.limits import bucket
from headrace.store.limits.bucket import Bucket
from headrace.store.limits.quota import MINUTE

# (microseconds that pass, cost, what is refunded of an earlier one: how far back and which part)
_steps = st.lists(
    st.tuples(
        st.integers(0, MINUTE // 2),
        st.integers(1, MINUTE),
        st.none() | st.tuples(st.integers(0, 50), st.integers(0, MINUTE)),
    ),
    max_size=60,
)


def _replay(taken: list[list[int]]) -> int:
    """The TAT as if the costs had been from the beginning what they are after the refunds."""
    tat = 0
    for now, cost in taken:
        tat = max(tat, now) + cost
    return tat


@given(_steps)
def test_a_refund_leaves_the_bucket_as_if_it_had_never_been_taken(
    steps: list[tuple[int, int, tuple[int, int] | None]],
) -> None:
    tested, now = Bucket(), 10**15
    taken: list[list[int]] = []  # when, and the cost that is left
    for passed, cost, refund in steps:
        now += passed
        if tested.admit(now, len(taken) + 1, cost):
            taken.append([now, cost])
        if refund is not None and taken:
            index = max(0, len(taken) - 1 - refund[0])
            part = min(refund[1], taken[index][1])
            tested.refund(index + 1, part)
            taken[index][1] -= part
        true = max(_replay(taken), now)
        assert max(tested.tat, now) >= true
        if len(taken) <= bucket.MINIMA:
            assert max(tested.tat, now) == true


@given(_steps)
def test_no_more_is_admitted_than_the_rate_and_one_burst(
    steps: list[tuple[int, int, tuple[int, int] | None]],
) -> None:
    tested, now = Bucket(), 10**15
    taken: list[list[int]] = []
    for passed, cost, refund in steps:
        now += passed
        if tested.admit(now, len(taken) + 1, cost):
            taken.append([now, cost])
        if refund is not None and taken:
            index = max(0, len(taken) - 1 - refund[0])
            part = min(refund[1], taken[index][1])
            tested.refund(index + 1, part)
            taken[index][1] -= part
        for first, (began, _) in enumerate(taken):
            assert sum(cost for _, cost in taken[first:]) <= MINUTE + (now - began)


def test_it_forgets_minima_rather_than_grow() -> None:
    tested = Bucket()
    for number in range(10 * bucket.MINIMA):
        tested.take(1, number + 1, 10)
    assert len(tested._lows) == bucket.MINIMA
    tested.refund(1, 10)  # the oldest may get back less, never more
    assert tested.tat - 1 in {10 * 10 * bucket.MINIMA, 10 * 10 * bucket.MINIMA - 10}


def test_the_wait_is_what_is_missing() -> None:
    tested = Bucket()
    assert tested.wait(0, MINUTE) == 0
    tested.take(0, 1, MINUTE)
    assert tested.wait(0, 1) == 1
    assert not tested.admit(0, 2, 1)
    assert tested.admit(1, 2, 1)

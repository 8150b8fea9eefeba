"""The online latency model: what it learns, and what it does before."""

from __future__ import annotations

import random

import pytest

from headrace.router.scheduling import profiles
from headrace.router.scheduling.latency import _DOUBT, _PRIOR, Latency
from headrace.router.scheduling.least_squares import LeastSquares
from headrace.router.scheduling.prefix_index import PrefixIndex
from headrace.router.worker import Worker
from tests.router.fleet import prefix, ready, tell, ticket


def test_least_squares_finds_the_line() -> None:
    rng = random.Random(1)
    model = LeastSquares((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    for _ in range(400):
        x = (1.0, rng.random() * 4, rng.random())
        model.learn(x, (0.05 + 0.3 * x[1] + 0.0 * x[2]) * rng.uniform(0.95, 1.05))
    assert model.coefficients == pytest.approx([0.05, 0.3, 0.0], abs=0.02)


def test_it_follows_a_change() -> None:
    rng = random.Random(2)
    model = LeastSquares((0.1, 0.1), (1.0, 1.0))
    for slope in (0.1, 0.8):
        for _ in range(500):
            x = (1.0, rng.random() * 3)
            model.learn(x, 0.02 + slope * x[1])
        assert model.expect((1.0, 2.0)) == pytest.approx(0.02 + slope * 2, rel=0.1)


def test_one_outlier_moves_little() -> None:
    model = LeastSquares((0.05, 0.1), (0.1, 0.1))
    for _ in range(100):
        model.learn((1.0, 1.0), 0.15)
    model.learn((1.0, 1.0), 60.0)
    assert model.expect((1.0, 1.0)) < 1.0
    for _ in range(30):
        model.learn((1.0, 1.0), 0.15)
    assert model.expect((1.0, 1.0)) == pytest.approx(0.15, rel=0.1)


def test_coefficients_never_become_negative_or_unbounded() -> None:
    rng = random.Random(3)
    model = LeastSquares((0.1, 0.1, 0.1), (1.0, 1.0, 1.0))
    for _ in range(5000):  # the third input never moves: nothing is learned of it
        model.learn((1.0, rng.random(), 0.0), 0.05)
    assert all(0 <= value < 10 for value in model.coefficients)
    assert all(abs(value) < 100 for row in model._spread for value in row)


def test_what_makes_answers_faster_is_taken_for_chance() -> None:
    rng = random.Random(9)
    model = LeastSquares((0.1, 0.1), (1.0, 1.0))
    for _ in range(500):
        x = (1.0, rng.random())
        model.learn(x, 1.0 - 0.5 * x[1])
    assert 0.0 <= model.coefficients[1] < 0.2


def test_it_stays_sane_for_a_long_time_and_through_every_kind_of_traffic() -> None:
    """Inputs that rest for 20,000 observations and then move again made it diverge once."""
    rng = random.Random(1)
    model = LeastSquares(_PRIOR, _DOUBT)
    for number in range(66_000):
        kind = number // 20_000
        x = (
            1.0,
            rng.random() * (4 if kind else 0),
            rng.random() * 10 * (kind != 1),
            rng.randrange(60) if kind != 2 else 0,
            rng.random() if kind == 3 else 0.0,
            rng.choice([0, 0, rng.randrange(500)]),
        )
        true = 0.02 + 0.1 * x[1] + 0.1 * x[2] + 0.004 * x[3] + 0.02 * x[5]
        model.learn(x, true * rng.lognormvariate(0, 0.5) * (100 if rng.random() < 0.001 else 1))
        assert max(model.coefficients) < 2.0, number
    assert model.coefficients[5] == pytest.approx(0.02, rel=0.5)


def learn(scorer: Latency, worker: Worker, base: float, per_token: float, count: int = 100) -> None:
    rng = random.Random(4)
    for number in range(count):
        prompt = rng.randrange(50, 4000)
        mine = ticket(1000.0 + number, cost=f"{prompt},10")
        mine.uncached = prompt
        scorer.placed(mine, worker)
        scorer.answered(worker, mine, base + per_token * prompt, 0)


def test_before_anything_is_learned_less_to_do_is_better() -> None:
    index = PrefixIndex()
    scorer = Latency(index)
    idle, running, queued, full = ready(4, slots=64)
    running.begin(ticket(cost="100,1000"))
    queued.begin(ticket(cost="4000,10"))
    tell(full, kv_used=95, kv_total=100, block_size=16)
    scores = scorer.score(ticket(cost="500,10"), [idle, running, queued, full])
    assert scores[0] == 1.0
    assert all(0 < score < 1 for score in scores[1:])
    assert scores[2] < scores[1]


def test_first_answers_say_how_fast_such_engines_are() -> None:
    """By the prior alone, a slow engine's worker would be taken for a fast one until it had learned for long."""
    scorer = Latency(PrefixIndex())
    known, new = ready(2)
    learn(scorer, known, 0.3, 0.001, count=16)
    mine = ticket(cost="2000,10")
    for worker in (known, new):
        assert scorer.expected(mine, worker) == pytest.approx(2.3, rel=0.1)


def test_tokens_that_wait_are_not_counted_twice() -> None:
    scorer = Latency(PrefixIndex())
    ours, others = ready(2, slots=64)
    waiting = ticket(cost="4000,10")
    ours.begin(waiting)
    tell(ours, max_running=64, running=1, queued_tokens=4000)  # the same ones
    tell(others, max_running=64, running=1, queued_tokens=4000)
    assert scorer.score(ticket(cost="500,10"), [ours, others]) == [1.0, 1.0]


def test_cached_prompt_is_worth_what_its_prefill_takes() -> None:
    scheduler = profiles.build("latency", {}, random.Random(0))
    has, other = ready(2, slots=64)
    scheduler.index.add([prefix(1).encode()], has)
    mine = ticket(cost="4000,10", prefix=prefix(1))
    assert scheduler.pick(mine, [has, other], 0.0) is has
    assert mine.uncached == 0
    has.begin(ticket(cost="9000,10"))
    moved = ticket(cost="4000,10", prefix=prefix(1))
    assert scheduler.pick(moved, [has, other], 0.0) is other
    assert moved.uncached == 4000


def test_full_fleet_computes_nothing_twice_though_another_worker_would_be_a_little_sooner() -> None:
    scheduler = profiles.build("latency", {}, random.Random(1))
    [holder, other] = ready(2)
    mine = ticket(prefix=prefix(*range(4)), cost="1000,1")
    scheduler.pick(mine, [holder], 0.0)
    begin = ticket(cost="1500,1")  # before the prompt there, by the prior 0.15 s; to compute it again takes 0.1 s
    for usage, expected in ((0, other), (900, holder)):
        for worker in (holder, other):
            tell(worker, kv_used=usage, kv_total=1000, block_size=1_000_000)
        holder.prefill = begin.prompt_tokens
        again = ticket(prefix=prefix(*range(4)), cost="1000,1")
        assert scheduler.choose(again, [holder, other])[0] is expected


def test_faster_worker_is_preferred_once_it_is_known() -> None:
    scorer = Latency(PrefixIndex())
    fast, slow = ready(2)
    learn(scorer, fast, 0.02, 0.00005)
    learn(scorer, slow, 0.10, 0.0005, count=300)
    mine = ticket(cost="2000,10")
    assert scorer.score(mine, [fast, slow])[0] == 1.0
    assert scorer.score(mine, [fast, slow])[1] < 0.3
    assert scorer.expected(mine, fast) == pytest.approx(0.12, rel=0.15)
    assert scorer.expected(mine, slow) == pytest.approx(1.1, rel=0.2)


def test_new_worker_begins_with_what_the_others_know() -> None:
    scorer = Latency(PrefixIndex())
    old, new = ready(2)
    mine = ticket(cost="2000,10")
    learn(scorer, old, 0.5, 0.001)
    assert scorer.expected(mine, new) == pytest.approx(scorer.expected(mine, old))
    learn(scorer, new, 0.01, 0.00001)
    assert scorer.expected(mine, new) < 0.2
    scorer.forget(new)  # a new epoch
    assert scorer.expected(mine, new) == pytest.approx(scorer.expected(mine, old))


@pytest.mark.parametrize("first_byte", [0.0005, 0.005, 0.5])
def test_streams_spread_where_first_bytes_do_not_slow_under_load(first_byte: float) -> None:
    """The first worker that was tried must not get everything because nothing is known of the others."""
    scheduler = profiles.build("latency", {}, random.Random(3))
    workers = ready(4, slots=64)
    for number in range(40):  # streams that go on: none ends
        mine = ticket(1000.0 + number, cost="100,1000")
        worker = scheduler.pick(mine, workers, 1000.0 + number)
        worker.begin(mine)
        scheduler.answered(worker, mine, first_byte, 0)
    assert min(worker.in_flight for worker in workers) >= 8


def test_whole_answers_teach_the_same_model() -> None:
    scorer = Latency(PrefixIndex())
    [worker] = ready(1)
    rng = random.Random(6)
    for number in range(400):
        output = rng.randrange(1, 400)
        mine = ticket(1000.0 + number, cost=f"1000,{output}")
        mine.uncached = 1000
        scorer.placed(mine, worker)
        scorer.answered(worker, mine, 0.2 + 0.01 * output, output)
    assert scorer.expected(ticket(cost="1000,400"), worker) == pytest.approx(0.2, abs=0.1)


def test_later_on_it_learns_fifty_times_a_second_at_most() -> None:
    scorer = Latency(PrefixIndex())
    [worker] = ready(1)
    learn(scorer, worker, 0.1, 0.0001, count=80)  # sixteen of them for the scale
    for start, pace, most in ((2000.0, 0.001, 50), (3000.0, 0.1, 10)):
        counted = 0
        for number in range(round(1 / pace)):
            mine = ticket(start + number * pace)
            scorer.placed(mine, worker)
            counted += mine.inputs is not None
        assert most * 0.9 <= counted <= most * 1.1

from __future__ import annotations

import random
from collections import Counter

import pytest

from headrace.router.scheduling.least_work import LeastWork
from headrace.router.scheduling.round_robin import RoundRobin
from headrace.router.scheduling.scheduler import Scheduler
from headrace.router.ticket import Ticket
from headrace.router.worker import Load, Worker

TICKET = Ticket({b"x-headrace-model": b"m", b"x-headrace-cost": b"60,40"}, 0.0)


def workers(count: int) -> list[Worker]:
    return [Worker("m", f"http://127.0.0.1:{port}", None) for port in range(1, count + 1)]


def test_least_work_is_linear_between_the_extremes() -> None:
    idle, half, full = workers(3)
    half.begin(TICKET)
    full.begin(TICKET)
    full.begin(TICKET)
    assert LeastWork().score(TICKET, [idle, half, full]) == [1.0, 0.5, 0.0]


def test_equal_work_is_equally_good() -> None:
    assert LeastWork().score(TICKET, workers(2)) == [1.0, 1.0]


def test_what_other_routers_gave_a_worker_counts() -> None:
    shared, own = workers(2)
    for worker in (shared, own):
        worker.begin(TICKET)
    shared.observe(Load(running=3, waiting=1))
    own.observe(Load(running=1))
    assert LeastWork().score(TICKET, [shared, own]) == [0.0, 1.0]


def test_queued_tokens_count_where_nothing_is_ours() -> None:
    busy, idle = workers(2)
    busy.observe(Load(queued_tokens=500))
    assert LeastWork().score(TICKET, [busy, idle]) == [0.0, 1.0]


def test_round_robin_takes_them_in_turn() -> None:
    scheduler = Scheduler([(RoundRobin(), 1.0)], random.Random(0))
    candidates = workers(3)
    picked = [scheduler.pick(TICKET, candidates).name for _ in range(9)]
    assert picked == [worker.name for worker in candidates] * 3


def test_round_robin_goes_on_when_one_is_missing() -> None:
    scheduler = Scheduler([(RoundRobin(), 1.0)], random.Random(0))
    first, second, third = workers(3)
    scheduler.pick(TICKET, [first, second, third])
    assert scheduler.pick(TICKET, [first, third]) is third
    assert scheduler.pick(TICKET, [first, third]) is first


def test_ties_are_broken_at_random() -> None:
    scheduler = Scheduler([(LeastWork(), 1.0)], random.Random(3))
    candidates = workers(2)
    picked = Counter(scheduler.pick(TICKET, candidates).name for _ in range(100))
    assert min(picked.values()) > 20
    assert len(picked) == 2


@pytest.mark.parametrize(("weight", "chosen"), [(0.5, 0), (2.0, 1)])
def test_weights_decide(weight: float, chosen: int) -> None:
    class Fixed:
        def __init__(self, *scores: float) -> None:
            self._scores = list(scores)

        def score(self, ticket: Ticket, candidates: object) -> list[float]:
            return self._scores

    scheduler = Scheduler([(Fixed(1, 0), 1.0), (Fixed(0, 1), weight)], random.Random(0))
    candidates = workers(2)
    assert scheduler.pick(TICKET, candidates) is candidates[chosen]

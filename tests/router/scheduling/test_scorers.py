"""Each scorer alone: the order, the tie, what it remembers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from headrace.router.scheduling import profiles
from headrace.router.scheduling.least_work import LeastWork
from headrace.router.scheduling.scheduler import Scheduler
from headrace.router.ticket import Ticket
from headrace.router.worker import Load, Worker

TICKET = Ticket({b"x-headrace-model": b"m", b"x-headrace-cost": b"60,40"}, 0.0)


def workers(count: int) -> list[Worker]:
    return [Worker(f"http://127.0.0.1:{port}", pools=["m"]) for port in range(1, count + 1)]


def scheduler(profile: str = "least-work", seed: int = 0, **own: dict[str, float]) -> Scheduler:
    return profiles.build(profile, own, random.Random(seed))


def pick(made: Scheduler, candidates: Sequence[Worker]) -> Worker:
    return made.pick(TICKET, candidates, 0.0)


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
    made = scheduler("round-robin")
    candidates = workers(3)
    picked = [pick(made, candidates).name for _ in range(9)]
    assert picked == [worker.name for worker in candidates] * 3


def test_round_robin_goes_on_when_one_is_missing() -> None:
    made = scheduler("round-robin")
    first, second, third = workers(3)
    pick(made, [first, second, third])
    assert pick(made, [first, third]) is third
    assert pick(made, [first, third]) is first


def test_ties_are_broken_at_random() -> None:
    made = scheduler(seed=3)
    candidates = workers(2)
    picked = Counter(pick(made, candidates).name for _ in range(100))
    assert min(picked.values()) > 20
    assert len(picked) == 2

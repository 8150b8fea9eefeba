"""What keeps requests together, and what stops it from melting a worker."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from headrace.router.scheduling import guard, profiles
from headrace.router.scheduling.best import rendezvous
from headrace.router.scheduling.lora_affinity import LoraAffinity
from headrace.router.scheduling.power_of_two import TwoChoices
from headrace.router.scheduling.prefix_affinity import PrefixAffinity
from headrace.router.scheduling.prefix_index import PrefixIndex
from headrace.router.scheduling.scheduler import Scheduler
from headrace.router.scheduling.session import SessionAffinity
from headrace.router.worker import Worker
from tests.router.fleet import prefix, ready, tell, ticket


def make(profile: str, seed: int = 0) -> Scheduler:
    return profiles.build(profile, {}, random.Random(seed))


def send(scheduler: Scheduler, workers: list[Worker], **headers: Any) -> Worker:
    return scheduler.pick(ticket(**headers), workers, 0.0)


def busy(worker: Worker, requests: int) -> None:
    for _ in range(requests):
        worker.begin(ticket())


def test_prompt_goes_where_its_beginning_is() -> None:
    scheduler, workers = make("prefix"), ready(4)
    first = send(scheduler, workers, prefix=prefix(1, 2, 3))
    for _ in range(5):
        assert send(scheduler, workers, prefix=prefix(1, 2, 3, 4)) is first


def test_hot_prompt_does_not_melt_its_worker() -> None:
    scheduler, workers = make("prefix"), ready(4, slots=64)
    for _ in range(80):
        send(scheduler, workers, prefix=prefix(1, 2, 3)).begin(ticket())
    loads = sorted(worker.in_flight for worker in workers)
    assert max(loads) <= 1.25 * 20 + 1
    assert min(loads) > 0


def test_replicas_agree_on_a_beginning_that_nobody_has() -> None:
    workers = ready(8)
    for seed in range(5):
        others = workers[:]
        random.Random(seed).shuffle(others)
        chosen = [send(make("prefix", seed), others, prefix=prefix(number)).name for number in range(40)]
        if not seed:
            first = chosen
        assert chosen == first
    assert len(set(first)) == 8


def test_overloaded_worker_gets_no_affinity() -> None:
    index = PrefixIndex()
    scorer = PrefixAffinity(index)
    hot, cold = ready(2, slots=16)
    mine = ticket(prefix=prefix(1))
    scheduler = make("prefix")
    scheduler.place(mine, hot, [])
    asked = ticket(prefix=prefix(1))
    index.add([prefix(1).encode()], hot)
    asked.matches = index.match([prefix(1).encode()])
    assert list(scorer.score(asked, [hot, cold])) == [1.0, 0.0]
    busy(hot, 10)
    assert list(scorer.score(asked, [hot, cold])) == [0.0, 0.0]
    asked.matches = []
    assert list(scorer.score(asked, [hot, cold])) == [0.0, 0.0]


def test_guard_goes_by_slots() -> None:
    small, large = ready(2, slots=4)
    tell(large, max_running=12)
    busy(small, 2)
    busy(large, 6)
    assert guard.within([small, large]) == [True, True]
    busy(small, 2)
    assert guard.within([small, large]) == [False, True]


def test_session_stays_and_only_its_own_move_when_a_worker_leaves() -> None:
    scheduler, workers = make("session"), ready(6, slots=100)
    homes = {session: send(scheduler, workers, session=session) for session in map(str, range(60))}
    assert {session: send(scheduler, workers, session=session) for session in homes} == homes
    gone = workers.pop()
    for session, home in homes.items():
        now = send(scheduler, workers, session=session)
        assert now is home or home is gone
    assert len({worker.name for worker in homes.values()}) == 6


def test_session_leaves_a_worker_that_has_too_much_to_do() -> None:
    scorer, workers = SessionAffinity(), ready(3, slots=16)
    mine = ticket(session="s")
    home = workers[list(scorer.score(mine, workers)).index(1.0)]
    busy(home, 12)
    assert workers[list(scorer.score(mine, workers)).index(1.0)] is not home
    assert list(scorer.score(ticket(), workers)) == [0.0] * 3
    assert list(scorer.favourites(ticket(), workers)) == []
    assert list(scorer.favourites(mine, workers)) == [rendezvous(b"s", workers)]


def test_adapter_goes_where_it_is_then_where_there_is_room() -> None:
    scorer = LoraAffinity()
    has, room, full = ready(3)
    scorer.placed(ticket(adapter="a"), has)
    for name in "bcde":
        scorer.placed(ticket(adapter=name), full)
    mine = ticket(adapter="a")
    assert list(scorer.score(mine, [has, room, full])) == [1.0, 0.8, 0.0]
    assert list(scorer.score(ticket(), [has, room])) == [0.0, 0.0]
    assert list(scorer.favourites(mine, [has, room, full])) == [has]
    scorer.placed(ticket(adapter="f"), full)
    assert list(scorer.score(ticket(adapter="b"), [full])) == [0.0]
    scorer.forget(has)
    assert list(scorer.score(mine, [has])) == [0.8]


def test_two_choices_compare_two() -> None:
    workers = ready(10)
    kept = [TwoChoices(random.Random(seed)).keep(ticket(), workers, workers) for seed in range(50)]
    assert all(len(set(pair)) == 2 for pair in kept)
    assert len({worker for pair in kept for worker in pair}) == 10
    assert TwoChoices(random.Random(0)).keep(ticket(), workers[:2], workers) == workers[:2]


def test_power_of_two_balances() -> None:
    scheduler, workers = make("power-of-two"), ready(10, slots=1000)
    for _ in range(500):
        mine = ticket()
        scheduler.pick(mine, scheduler.keep(mine, workers, workers), 0.0).begin(mine)
    loads = [worker.in_flight for worker in workers]
    assert max(loads) - min(loads) <= 8


def test_only_a_sample_of_many_is_scored_and_the_favourites() -> None:
    scheduler, workers = make("prefix"), ready(500)
    home = send(scheduler, workers, prefix=prefix(1, 2))
    for _ in range(20):
        mine = ticket(prefix=prefix(1, 2))
        shortlist = scheduler.shortlist(mine, workers)
        assert len(shortlist) <= 24 + 8
        assert home in shortlist
        assert scheduler.pick(mine, shortlist, 0.0) is home
    cold = ticket(prefix=prefix(9))
    assert rendezvous(prefix(9).encode(), workers) in scheduler.shortlist(cold, workers)
    counts = Counter(worker.name for _ in range(400) for worker in scheduler.shortlist(ticket(), workers))
    assert len(counts) == 500

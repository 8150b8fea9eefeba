"""Admission: slots, order, bounds, and that nothing is ever lost."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from headrace.errors import DeadlineExceeded, Overloaded
from headrace.router.flow.drain_rate import LEAST, MOST
from headrace.router.flow.queue import PoolQueue
from headrace.router.scheduling import profiles
from headrace.router.ticket import Ticket
from headrace.router.worker import Load, ModelLoad, State, Worker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ticket(clock: Clock, seconds: float = 60) -> Ticket:
    headers = {b"x-headrace-model": b"m", b"x-headrace-cost": b"10,5"}
    return Ticket({**headers, b"x-headrace-deadline-ms": b"%d" % (seconds * 1000)}, clock.now)


def queue(clock: Clock, *slots: int, capacity: int = 10, shares: int = 1) -> PoolQueue:
    ports = range(1, len(slots) + 1)
    workers = [Worker(f"http://127.0.0.1:{port}", pools=["m"], shares=shares) for port in ports]
    for worker, count in zip(workers, slots, strict=True):
        worker.observe(load(count))
        worker.turn(State.READY)
    scheduler = profiles.build("least-work", {}, random.Random(1))
    return PoolQueue("m", scheduler, capacity=capacity, cold_wait=5, clock=clock, workers=workers)


def load(max_running: int, **more: Any) -> Load:
    return Load(max_running=max_running, models=(ModelLoad("m"),), **more)


def members(pool: PoolQueue) -> list[Worker]:
    return list(pool.workers)


async def test_least_work_first_and_slots_are_the_limit() -> None:
    clock = Clock()
    pool = queue(clock, 1, 2)
    taken = [pool.try_admit(ticket(clock)) for _ in range(4)]
    assert taken[3] is None
    assert [worker.in_flight for worker in pool.workers] == [1, 2]


async def test_first_come_first_served() -> None:
    clock = Clock()
    pool = queue(clock, 1)
    held = ticket(clock)
    worker = pool.try_admit(held)
    assert worker is not None
    order: list[int] = []

    async def come(number: int) -> None:
        mine = ticket(clock)
        got = await pool.wait(mine)
        order.append(number)
        pool.release(got, mine, finished=True)

    tasks = [asyncio.create_task(come(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert pool.waiting == 5
    assert pool.try_admit(ticket(clock)) is None
    pool.release(worker, held, finished=True)
    await asyncio.gather(*tasks)
    assert order == list(range(5))
    assert (worker.in_flight, worker.work, pool.waiting) == (0, 0, 0)


async def test_full_queue_refuses_with_the_measured_rate() -> None:
    clock = Clock()
    pool = queue(clock, 1, capacity=1)
    held = ticket(clock)
    worker = pool.try_admit(held)
    assert worker is not None
    waiting = asyncio.create_task(pool.wait(ticket(clock)))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await pool.wait(ticket(clock))
    assert caught.value.retry_after is not None
    assert LEAST <= caught.value.retry_after <= MOST
    pool.release(worker, held, finished=True)
    assert await waiting is worker


async def test_deadline_ends_the_wait() -> None:
    clock = Clock()
    pool = queue(clock, 1)
    pool.try_admit(ticket(clock))
    with pytest.raises(DeadlineExceeded):
        await pool.wait(ticket(clock, 0))
    assert pool.waiting == 0


async def test_avoided_worker_only_where_there_is_no_other() -> None:
    clock = Clock()
    pool = queue(clock, 2, 2)
    first, second = members(pool)
    assert pool.try_admit(ticket(clock), (first,)) is second
    second.turn(State.DOWN)
    assert pool.try_admit(ticket(clock), (first,)) is first


async def test_processes_share_the_slots() -> None:
    clock = Clock()
    pool = queue(clock, 8, shares=4)
    members(pool)[0].observe(load(8, running=7))
    assert [pool.try_admit(ticket(clock)) is not None for _ in range(3)] == [True, True, False]


async def test_nothing_is_lost_in_a_random_walk() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201  shown when the test fails
    rng = random.Random(seed)
    clock = Clock()
    pool = queue(clock, 2, 1, 3, capacity=50)
    running: list[tuple[Worker, Ticket]] = []
    tasks: set[asyncio.Task[None]] = set()

    async def come() -> None:
        mine = ticket(clock)
        running.append((pool.try_admit(mine) or await pool.wait(mine), mine))

    for _ in range(3000):
        action = rng.random()
        if action < 0.4 and pool.waiting < 50:
            tasks.add(asyncio.create_task(come()))
        elif action < 0.6 and tasks:
            rng.choice(list(tasks)).cancel()
        elif action < 0.9 and running:
            worker, mine = running.pop(rng.randrange(len(running)))
            pool.release(worker, mine, finished=True)
        else:
            worker = rng.choice(members(pool))
            worker.turn(rng.choice([State.READY, State.READY, State.DOWN]))
        if rng.random() < 0.5:
            await asyncio.sleep(0)
        tasks = {task for task in tasks if not task.done()}
        await asyncio.sleep(0)  # who was cancelled has left, who was granted a slot has taken it
        free = [w for w in pool.workers if w.state is State.READY and w.in_flight < w.load.max_running]
        assert not (pool.waiting and free)
        for worker in pool.workers:
            assert 0 <= worker.in_flight <= worker.load.max_running
        assert sum(worker.in_flight for worker in pool.workers) >= len(running)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for worker, mine in running:
        pool.release(worker, mine, finished=True)
    assert [(worker.in_flight, worker.work) for worker in pool.workers] == [(0, 0)] * 3
    assert pool.waiting == 0


@pytest.mark.parametrize("first", ["grant", "cancel"])
async def test_slot_granted_in_the_moment_of_cancellation_goes_back(first: str) -> None:
    clock = Clock()
    pool = queue(clock, 1)
    held = ticket(clock)
    worker = pool.try_admit(held)
    assert worker is not None
    waiting = asyncio.create_task(pool.wait(ticket(clock)))
    await asyncio.sleep(0)
    if first == "grant":
        pool.release(worker, held, finished=True)
        waiting.cancel()
    else:
        waiting.cancel()
        pool.release(worker, held, finished=True)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (worker.in_flight, worker.work, pool.waiting) == (0, 0, 0)


async def test_slot_that_goes_back_is_given_to_the_next() -> None:
    clock = Clock()
    pool = queue(clock, 1)
    held = ticket(clock)
    worker = pool.try_admit(held)
    assert worker is not None
    leaving, next_ = (asyncio.create_task(pool.wait(ticket(clock))) for _ in range(2))
    await asyncio.sleep(0)
    pool.release(worker, held, finished=True)
    leaving.cancel()
    assert await next_ is worker
    assert worker.in_flight == 1


async def test_who_was_admitted_before_goes_first_and_is_not_refused() -> None:
    clock = Clock()
    pool = queue(clock, 1, capacity=1)
    held = ticket(clock)
    worker = pool.try_admit(held)
    assert worker is not None
    new = asyncio.create_task(pool.wait(ticket(clock)))
    await asyncio.sleep(0)
    again = asyncio.create_task(pool.wait(ticket(clock), (worker,)))
    await asyncio.sleep(0)
    pool.release(worker, held, finished=False)
    assert await again is worker
    assert not new.done()
    new.cancel()


async def test_queue_is_bounded() -> None:
    clock = Clock()
    pool = queue(clock, 1, capacity=2, shares=2)
    members(pool)[0].observe(load(1, running=1))
    pool.try_admit(ticket(clock))
    waiting = [asyncio.create_task(pool.wait(ticket(clock))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await pool.wait(ticket(clock))
    for task in waiting:
        task.cancel()


async def test_slots_that_the_other_processes_leave_are_used() -> None:
    clock = Clock()
    pool = queue(clock, 8, shares=2)
    worker = members(pool)[0]
    for _ in range(5):  # each look shows what is unused still
        while pool.try_admit(ticket(clock)) is not None:
            pass
        worker.observe(load(8, running=worker.in_flight))
    assert worker.in_flight == 8


async def test_own_share_is_left_to_each_process() -> None:
    clock = Clock()
    pool = queue(clock, 8, shares=2)
    members(pool)[0].observe(load(8, running=8))
    assert [pool.try_admit(ticket(clock)) is not None for _ in range(5)] == [True] * 4 + [False]


async def test_cold_pool_waits_and_then_says_why() -> None:
    clock = Clock()
    pool = queue(clock, 1)
    worker = members(pool)[0]
    worker.turn(State.STARTING, "loading the model")
    waiting = asyncio.create_task(pool.wait(ticket(clock)))
    await asyncio.sleep(0)
    clock.now += 4
    pool.expire()
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.now += 2
    pool.expire()
    with pytest.raises(Overloaded, match="loading the model") as caught:
        await waiting
    assert caught.value.code == "no_worker"
    assert caught.value.retry_after
    with pytest.raises(Overloaded):  # the next one is not kept waiting
        await pool.wait(ticket(clock))
    assert pool.waiting == 0


async def test_pool_that_is_warm_again_starts_to_count_anew() -> None:
    clock = Clock()
    pool = queue(clock, 1)
    worker = members(pool)[0]
    for state in (State.DOWN, State.READY, State.DOWN):
        worker.turn(state)
        clock.now += 4
    waiting = asyncio.create_task(pool.wait(ticket(clock)))
    await asyncio.sleep(0)
    pool.expire()
    worker.turn(State.READY)
    assert await waiting is worker


async def test_wait_estimate_is_zero_while_there_is_room() -> None:
    clock = Clock()
    pool = queue(clock, 1)
    assert pool.wait_estimate() == 0
    pool.try_admit(ticket(clock))
    assert pool.wait_estimate() >= LEAST


async def test_refusal_tells_the_pace_of_the_work_and_not_of_the_idle_time() -> None:
    clock = Clock()
    pool = queue(clock, 1)
    for _ in range(20):
        mine = ticket(clock)
        worker = pool.try_admit(mine)
        assert worker is not None
        clock.now += 2
        pool.release(worker, mine, finished=True)
        clock.now += 600
    pool.try_admit(ticket(clock))
    clock.now += 2
    assert pool.wait_estimate() == pytest.approx(2, rel=0.2)

"""Admission: slots, order, bounds, and that nothing is ever lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from headrace.errors import DeadlineExceeded, Overloaded
from headrace.router.flow.drain_rate import LEAST, MOST, DrainRate
from headrace.router.flow.queue import PoolQueue
from headrace.router.scheduling.least_work import LeastWork
from headrace.router.scheduling.scheduler import Scheduler
from headrace.router.ticket import Ticket
from headrace.router.worker import Load, State, Worker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ticket(clock: Clock, seconds: float = 60) -> Ticket:
    headers = {b"x-headrace-model": b"m", b"x-headrace-cost": b"10,5"}
    return Ticket({**headers, b"x-headrace-deadline-ms": b"%d" % (seconds * 1000)}, clock.now)


def queue(clock: Clock, *slots: int, capacity: int = 10, shares: int = 1) -> PoolQueue:
    workers = [Worker("m", f"http://127.0.0.1:{port}", None) for port in range(1, len(slots) + 1)]
    for worker, count in zip(workers, slots, strict=True):
        worker.load = Load(max_running=count)
        worker.state = State.READY
    scheduler = Scheduler([(LeastWork(), 1.0)], random.Random(1))
    made = PoolQueue("m", workers, scheduler, capacity=capacity, shares=shares, cold_wait=5, clock=clock)
    made.changed()
    return made


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
    first, second = pool.workers
    assert pool.try_admit(ticket(clock), (first,)) is second
    second.state = State.DOWN
    pool.changed()
    assert pool.try_admit(ticket(clock), (first,)) is first


async def test_processes_share_the_slots() -> None:
    clock = Clock()
    pool = queue(clock, 8, shares=4)
    pool.workers[0].load = Load(max_running=8, running=7)
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
        running.append((await pool.wait(mine), mine))

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
            worker = rng.choice(pool.workers)
            worker.state = rng.choice([State.READY, State.READY, State.DOWN])
            pool.changed()
        if rng.random() < 0.5:
            await asyncio.sleep(0)
        tasks = {task for task in tasks if not task.done()}
        for worker in pool.workers:
            assert 0 <= worker.in_flight <= worker.load.max_running
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for worker, mine in running:
        pool.release(worker, mine, finished=True)
    assert [(worker.in_flight, worker.work) for worker in pool.workers] == [(0, 0)] * 3
    assert pool.waiting == 0


def test_drain_rate_is_what_was_finished_lately() -> None:
    rate = DrainRate()
    for second in range(120):
        rate.record(float(second))
        rate.record(second + 0.5)
    assert rate.rate(120.0) == pytest.approx(2.0, rel=0.1)
    assert rate.retry_after(19, 120.0) == pytest.approx(10, rel=0.15)
    assert rate.retry_after(1_000_000, 120.0) == MOST

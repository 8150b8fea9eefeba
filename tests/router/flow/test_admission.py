"""Who gets a slot when: priorities, tenants, KV room, adapters, shared workers, deadlines."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from headrace.errors import ApiError, Overloaded
from headrace.router.flow.queue import PoolQueue, Waiter
from headrace.router.scheduling import profiles
from headrace.router.ticket import Ticket
from headrace.router.worker import State, Worker
from tests.router.fleet import Clock, ready, tell, ticket


def pool(clock: Clock, workers: list[Worker], *, name: str = "m", capacity: int = 1000) -> PoolQueue:
    scheduler = profiles.build("least-work", {}, random.Random(1))
    return PoolQueue(name, scheduler, capacity=capacity, cold_wait=5, clock=clock, workers=workers)


class Crowd:
    """Requests that wait, and in which order they were let in. No loop: the queue's core alone."""

    def __init__(self, queue: PoolQueue, clock: Clock) -> None:
        self.order: list[str] = []
        self.running: list[tuple[Worker, Ticket]] = []
        self.refused: list[ApiError] = []
        self._queue = queue
        self._clock = clock

    def come(self, name: str, **headers: Any) -> Waiter | None:
        mine = ticket(self._clock.now, **headers)
        worker = self._queue.try_admit(mine)
        if worker is not None:
            self._granted(name, mine, worker)
            return None
        return self._queue.enqueue(mine, (), lambda worker: self._granted(name, mine, worker), self.refused.append)

    def leave_one(self, *, seconds: float = 0.0) -> None:
        self._clock.now += seconds
        self._queue.release(*self.running.pop(0), finished=True)

    def _granted(self, name: str, mine: Ticket, worker: Worker) -> None:
        self.order.append(name)
        self.running.append((worker, mine))


def crowd(*, slots: int = 1, workers: int = 1, **load: Any) -> tuple[Crowd, PoolQueue, list[Worker], Clock]:
    clock = Clock()
    fleet = ready(workers, slots=slots, **load)
    queue = pool(clock, fleet)
    return Crowd(queue, clock), queue, fleet, clock


def test_priority_before_arrival() -> None:
    people, _, _, _ = crowd()
    people.come("holder")
    people.come("low", priority="9")
    people.come("middle")
    people.come("high", priority="0")
    for _ in range(3):
        people.leave_one()
    assert people.order == ["holder", "high", "middle", "low"]


def test_full_queue_takes_a_modest_tenant_in_place_of_the_last_of_the_greedy_one() -> None:
    people, queue, _, _ = crowd()
    queue.resize(4)
    people.come("holder", tenant="other")
    for number in range(4):
        people.come(f"flood{number}", tenant="greedy")
    people.come("modest", tenant="modest")
    assert queue.waiting == 4
    assert len(people.refused) == 1
    with pytest.raises(Overloaded, match="queue is full"):
        people.come("flood4", tenant="greedy")
    people.come("modest2", tenant="modest")
    with pytest.raises(Overloaded, match="queue is full"):  # two each: nobody has too much
        people.come("modest3", tenant="modest")
    for _ in range(4):
        people.leave_one()
    assert sorted(people.order) == ["flood0", "flood1", "holder", "modest", "modest2"]


def test_flood_of_one_tenant_does_not_delay_the_others() -> None:
    people, _, _, _ = crowd()
    people.come("holder", tenant="other")
    for number in range(50):
        people.come(f"flood{number}", tenant="greedy")
    people.come("modest", tenant="modest")
    for _ in range(2):
        people.leave_one()
    assert "modest" in people.order[:3]


def test_request_that_the_kv_cache_cannot_take_waits_for_room() -> None:
    people, _, [worker], _ = crowd(slots=8, kv_total=100, block_size=16)
    people.come("first", cost="1000,200")
    people.come("second", cost="1000,200")
    assert people.order == ["first"]
    people.leave_one()
    assert people.order == ["first", "second"]
    tell(worker, max_running=8, kv_total=100, kv_used=90, block_size=16)
    people.come("third", cost="1000,200")
    assert people.order == ["first", "second"]
    tell(worker, max_running=8, kv_total=1000, kv_used=90, block_size=16)
    assert people.order == ["first", "second", "third"]


def test_prompts_that_wait_inside_a_worker_and_answers_that_grow_leave_no_room() -> None:
    people, _, [worker], _ = crowd(slots=8, kv_total=200, block_size=16)
    people.come("first", cost="1000,200")
    people.come("second", cost="1000,200")
    full = {"max_running": 8, "kv_total": 200, "block_size": 16}
    tell(worker, kv_used=63, **full)  # the first has its place, the second waits for the step
    people.come("third", cost="1000,200")
    assert people.order == ["first", "second"]
    tell(worker, kv_used=63, queued_tokens=1500, **full)  # other routers' too
    assert people.order == ["first", "second"]
    people.leave_one()
    tell(worker, kv_used=0, **full)
    assert people.order == ["first", "second", "third"]


def test_request_larger_than_any_cache_is_tried_alone() -> None:
    people, _, _, _ = crowd(slots=8, kv_total=10, block_size=16)
    people.come("huge", cost="5000,100")
    assert people.order == ["huge"]


def test_adapter_goes_to_a_worker_that_has_it_and_does_not_hold_up_the_others() -> None:
    people, _, [plain, special], _ = crowd(workers=2)
    tell(special, max_running=1, adapters=("law",))
    people.come("holder", adapter="law")
    assert special.in_flight == 1
    people.come("waits", adapter="law", tenant="a")
    people.come("plain", tenant="b")
    assert people.order == ["holder", "plain"]
    assert plain.in_flight == 1
    people.leave_one()
    assert people.order == ["holder", "plain", "waits"]


def test_adapter_that_no_worker_names_may_be_tried_on_any() -> None:
    people, _, _, _ = crowd(workers=2)
    people.come("one", adapter="unknown")
    assert people.order == ["one"]


def test_what_cannot_make_its_deadline_is_refused_before_it_waits() -> None:
    people, queue, _, clock = crowd()
    for _ in range(10):
        people.come("warm")
        people.leave_one(seconds=2)
    people.come("holder")
    for _ in range(9):
        people.come("waits")
    with pytest.raises(Overloaded, match="after the request's deadline") as caught:
        queue.enqueue(ticket(clock.now, seconds=10), (), lambda worker: None, people.refused.append)
    assert caught.value.code == "deadline_unreachable"
    assert caught.value.retry_after is not None
    assert 10 < caught.value.retry_after < 30
    queue.enqueue(ticket(clock.now, seconds=60), (), lambda worker: None, people.refused.append)
    # One of higher priority, or of a tenant with nothing in the queue, does make it.
    queue.enqueue(ticket(clock.now, seconds=10, priority="0"), (), lambda worker: None, people.refused.append)
    queue.enqueue(ticket(clock.now, seconds=10, tenant="new"), (), lambda worker: None, people.refused.append)
    assert queue.waiting == 12


def test_worker_of_two_pools_shares_its_slots_and_serves_both_in_turn() -> None:
    clock = Clock()
    [worker] = ready(1, slots=1, pools=("a", "b"))
    first, second = pool(clock, [worker], name="a"), pool(clock, [worker], name="b")
    order: list[str] = []
    running: list[tuple[PoolQueue, Ticket]] = []

    def come(queue: PoolQueue) -> None:
        mine = ticket(clock.now, pool=queue.name)

        def granted(worker: Worker) -> None:
            order.append(queue.name)
            running.append((queue, mine))

        if queue.try_admit(mine) is not None:
            granted(worker)
        else:
            queue.enqueue(mine, (), granted, lambda error: None)

    for queue in (first, first, first, second, second):
        come(queue)
    while running:
        queue, mine = running.pop(0)
        queue.release(worker, mine, finished=True)
    assert sorted(order) == ["a", "a", "a", "b", "b"]
    assert order[1:3] in (["a", "b"], ["b", "a"])
    assert (worker.in_flight, worker.work, first.running, second.running) == (0, 0, 0, 0)


def test_worker_that_does_not_serve_the_pool_gets_nothing_of_it() -> None:
    clock = Clock()
    [worker] = ready(1)
    queue = pool(clock, [worker], name="other")
    assert queue.try_admit(ticket(clock.now, pool="other")) is None
    assert queue.wait_estimate() > 0


def test_parted_worker_gets_nothing_more_and_finishes_what_it_has() -> None:
    people, queue, [worker], _ = crowd(slots=2)
    people.come("first")
    queue.part(worker)
    people.come("second")
    assert people.order == ["first"]
    people.leave_one()
    assert (worker.in_flight, queue.running, worker.lines) == (0, 0, [])
    queue.part(worker)
    queue.join(worker)
    assert people.order == ["first", "second"]


def test_prompt_tokens_ahead_go_with_their_requests() -> None:
    people, queue, [worker], _ = crowd(slots=8)
    for tokens in (100, 200, 400):
        people.come(str(tokens), cost=f"{tokens},10")
    assert worker.prefill == 700
    queue.answered(*people.running[0], stream=True)
    assert worker.prefill == 600
    queue.release(*people.running.pop(0), finished=True)
    assert worker.prefill == 600  # not twice
    queue.release(*people.running.pop(0), finished=False)  # it never answered
    assert worker.prefill == 400


def test_new_epoch_starts_cold() -> None:
    people, queue, [worker, other], _ = crowd(workers=2, slots=4)
    people.come("one", prefix="0" * 16)
    assert len(queue.scheduler.index) == 1
    taken = next(member for member in (worker, other) if member.in_flight)
    tell(taken, max_running=4, epoch="2")
    assert len(queue.scheduler.index) == 0


def test_queue_of_several_hundred_workers_stays_in_step_with_them() -> None:
    rng = random.Random(5)
    clock = Clock()
    workers = ready(300, slots=2)
    queue = pool(clock, workers, capacity=10_000)
    people = Crowd(queue, clock)
    for number in range(5000):
        clock.now += 0.001
        action = rng.random()
        if action < 0.55:
            people.come(str(number), tenant=str(rng.randrange(20)), priority=str(rng.randrange(10)))
        elif action < 0.95 and people.running:
            queue.release(*people.running.pop(rng.randrange(len(people.running))), finished=True)
        else:
            rng.choice(workers).turn(rng.choice([State.READY, State.READY, State.DOWN]))
        may = {worker for worker in workers if worker.state is State.READY and worker.in_flight < 2}
        assert set(queue._open.workers) == may
        assert not (queue.waiting and may)
    assert sum(worker.in_flight for worker in workers) == len(people.running) == queue.running


async def test_nothing_is_in_flight_after_ten_thousand_requests_with_random_aborts() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201  shown when the test fails
    rng = random.Random(seed)
    clock = Clock()
    workers = ready(6, slots=3, kv_total=60, block_size=16)
    queue = pool(clock, workers, capacity=200)
    gate = asyncio.Semaphore(120)

    async def one() -> None:
        async with gate:
            mine = ticket(
                clock.now,
                tenant=str(rng.randrange(9)),
                priority=str(rng.randrange(10)),
                cost=f"{rng.randrange(1, 400)},{rng.randrange(100)}",
            )
            avoid: tuple[Worker, ...] = ()
            for _ in range(3):
                worker = queue.try_admit(mine, avoid) or await queue.wait(mine, avoid)
                try:
                    await asyncio.sleep(0)
                    if rng.random() < 0.7:
                        queue.answered(worker, mine, stream=True)
                        await asyncio.sleep(0)
                    lost = rng.random() < 0.1
                finally:
                    queue.release(worker, mine, finished=True)
                if not lost:
                    return
                avoid += (worker,)

    tasks = [asyncio.create_task(one()) for _ in range(10_000)]
    while not all(task.done() for task in tasks):
        for task in rng.sample(tasks, 20):
            if rng.random() < 0.3:
                task.cancel()
        worker = rng.choice(workers)
        worker.turn(rng.choice([State.READY] * 5 + [State.DOWN]))
        for other in workers:
            if rng.random() < 0.3:
                other.turn(State.READY)
        clock.now += 0.001
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, type(None) | asyncio.CancelledError | Overloaded) for outcome in outcomes)
    assert sum(outcome is None for outcome in outcomes) > 1000
    assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) > 1000
    assert [(worker.in_flight, worker.work, worker.prefill) for worker in workers] == [(0, 0, 0)] * 6
    assert (queue.running, queue.waiting, sum(queue.depths())) == (0, 0, 0)

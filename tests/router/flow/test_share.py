"""No tenant fills a worker on which others have work."""

from __future__ import annotations

import random
from typing import Any

from headrace.errors import ApiError
from headrace.router.flow.queue import PoolQueue
from headrace.router.scheduling import profiles
from headrace.router.ticket import Ticket
from headrace.router.worker import Worker
from tests.router.fleet import Clock, ready, tell, ticket


def queue(workers: list[Worker], share: float = 0.5, capacity: int = 100) -> PoolQueue:
    scheduler = profiles.build("least-work", {}, random.Random(1))
    return PoolQueue("m", scheduler, capacity=capacity, cold_wait=5, clock=Clock(), workers=workers, tenant_share=share)


def admit(pool: PoolQueue, tenant: str, count: int = 1, **headers: Any) -> list[Ticket]:
    """As many of the tenant's requests as go at once, ``count`` at most."""
    admitted = []
    for _ in range(count):
        mine = ticket(tenant=tenant, **headers)
        if pool.try_admit(mine) is None:
            break
        admitted.append(mine)
    return admitted


def wait(pool: PoolQueue, tenant: str, gone: list[str], count: int = 1, **headers: Any) -> None:
    for _ in range(count):
        pool.enqueue(ticket(tenant=tenant, **headers), (), lambda worker: gone.append(tenant), _unexpected)


def _unexpected(error: ApiError) -> None:
    raise error


def test_who_is_alone_on_a_worker_may_fill_it() -> None:
    (worker,) = ready(1, slots=8)
    assert len(admit(queue([worker]), "a", 10)) == 8
    assert worker.held == {b"a": (8, 8 * 15)}


def test_beside_others_a_tenant_has_half_of_the_slots_and_they_have_the_rest() -> None:
    (worker,) = ready(1, slots=8)
    pool = queue([worker])
    admit(pool, "b")
    assert len(admit(pool, "a", 10)) == 4
    assert len(admit(pool, "b", 10)) == 3
    assert pool.held_back == 1


def test_beside_others_a_tenant_has_half_of_the_kv_cache() -> None:
    (worker,) = ready(1, slots=100, kv_total=100, block_size=16)
    pool = queue([worker])
    admit(pool, "b")
    assert len(admit(pool, "a", 100, cost="90,10")) == 8  # 1,600 tokens; the eighth begins below half of them


def test_several_routers_share_the_kv_cache() -> None:
    (worker,) = ready(1, slots=100, kv_total=100, block_size=16)
    worker.share(2)
    pool = queue([worker])
    admit(pool, "b")
    assert len(admit(pool, "a", 100, cost="90,10")) == 4


def test_others_go_past_the_tenant_that_has_its_share() -> None:
    (worker,) = ready(1, slots=8)
    pool = queue([worker])
    admit(pool, "b")
    admit(pool, "a", 10)
    gone: list[str] = []
    wait(pool, "a", gone, 5)
    wait(pool, "c", gone)
    assert gone == ["c"]
    assert pool.waiting == 5
    assert pool.held_back == 2  # those that were next: the one that did not wait, and the first that did


def test_when_the_others_are_gone_it_may_fill_the_worker() -> None:
    (worker,) = ready(1, slots=8)
    pool = queue([worker])
    (other,) = admit(pool, "b")
    admit(pool, "a", 10)
    gone: list[str] = []
    wait(pool, "a", gone, 5)
    pool.release(worker, other, finished=True)
    assert gone == ["a"] * 4
    assert worker.in_flight == 8


def test_it_goes_to_workers_that_nobody_else_is_on() -> None:
    first, second = ready(2, slots=4)
    pool = queue([first, second])
    admit(pool, "b")
    assert len(admit(pool, "a", 10)) == 6
    assert sorted((first.in_flight, second.in_flight)) == [3, 4]


def test_a_single_slot_is_anybodys() -> None:
    (worker,) = ready(1, slots=1)
    pool = queue([worker])
    (mine,) = admit(pool, "a")
    gone: list[str] = []
    wait(pool, "a", gone)
    pool.release(worker, mine, finished=True)
    assert gone == ["a"]


def test_who_lost_its_worker_is_not_held_back() -> None:
    first, second = ready(2, slots=4)
    pool = queue([first])
    admit(pool, "b")
    lost = admit(pool, "a", 10)[0]
    pool.release(first, lost, finished=False)
    admit(pool, "a")
    assert pool.try_admit(lost, (second,)) is first


def test_a_share_of_one_holds_nobody_back() -> None:
    (worker,) = ready(1, slots=8)
    pool = queue([worker], share=1.0)
    admit(pool, "b")
    assert len(admit(pool, "a", 10)) == 7
    assert pool.held_back == 0


def test_nothing_is_left_of_who_is_gone() -> None:
    workers = ready(3, slots=6, kv_total=60, block_size=16)
    pool = queue(workers)
    rng = random.Random(5)
    running: list[tuple[Worker, Ticket]] = []
    for number in range(2000):
        if running and rng.random() < 0.5:
            worker, mine = running.pop(rng.randrange(len(running)))
            pool.answered(worker, mine, stream=True)
            pool.release(worker, mine, finished=True)
        else:
            mine = ticket(tenant=f"t{rng.randrange(5)}", cost=f"{rng.randrange(300)},{rng.randrange(100)}")
            admitted = pool.try_admit(mine)
            if admitted is not None:
                running.append((admitted, mine))
        if number % 100 == 0:
            for worker in workers:
                tell(worker, max_running=6, kv_total=60, block_size=16, kv_used=rng.randrange(60))
    for worker, mine in running:
        pool.release(worker, mine, finished=False)
    assert [worker.held for worker in workers] == [{}, {}, {}]


def test_what_other_routers_requests_will_generate_is_taken_to_be_like_ours() -> None:
    (worker,) = ready(1, slots=100, kv_total=100, block_size=10)
    worker.share(2)
    admit(queue([worker]), "a", cost="10,100")
    tell(worker, max_running=100, running=4, kv_total=100, kv_used=20, block_size=10)
    assert worker.kv_room == 800 - 10 - 4 * 100 / 2

"""Fairness between tenants by work served."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from headrace.router.flow.fair import FairQueue


def serve(queue: FairQueue[tuple[str, int]]) -> tuple[str, int]:
    item = queue.head()
    tenant, work = item
    queue.charge(tenant.encode(), work)
    assert queue.remove(tenant.encode(), item)
    return item


def test_one_tenant_is_first_come_first_served() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(5):
        queue.push(b"a", number)
    order = []
    while queue:
        order.append(queue.head())
        queue.charge(b"a", 1)
        queue.remove(b"a", order[-1])
    assert order == [0, 1, 2, 3, 4]


def test_backlogged_tenants_get_the_same_work_whatever_the_size_of_their_requests() -> None:
    queue: FairQueue[object] = FairQueue()
    sizes = {b"small": 10, b"large": 500, b"other": 70}
    items: dict[object, bytes] = {}

    def push(tenant: bytes) -> None:
        item = object()
        items[item] = tenant
        queue.push(tenant, item)

    for tenant in sizes:
        push(tenant)
        push(tenant)
    served: Counter[bytes] = Counter()
    while sum(served.values()) < 100_000:
        item = queue.head()
        tenant = items.pop(item)
        push(tenant)  # it is never without a request
        queue.charge(tenant, sizes[tenant])
        queue.remove(tenant, item)
        served[tenant] += sizes[tenant]
    # The bound of the paper: twice the largest request.
    assert max(served.values()) - min(served.values()) <= 2 * max(sizes.values())


def test_pause_earns_no_credit() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number in range(10):
        queue.push(b"busy", ("busy", 100))
        if number < 9:
            serve(queue)
    assert queue.counter(b"busy") == 900
    queue.push(b"idle", ("idle", 100))
    assert queue.counter(b"idle") == 900


def test_who_comes_to_an_empty_queue_is_lifted_to_the_one_served_last() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    queue.charge(b"a", 5000)
    queue.push(b"b", ("b", 1))
    assert queue.counter(b"b") == 5000


def test_work_that_went_without_a_wait_counts() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    queue.charge(b"quiet", 10)
    queue.charge(b"greedy", 1000)
    for tenant in ("greedy", "quiet"):
        queue.push(tenant.encode(), (tenant, 1))
    assert queue.head()[0] == "greedy" or queue.counter(b"quiet") == queue.counter(b"greedy")


def test_others_follow_in_the_order_of_what_they_were_served() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "b1", "b2", "c1", "c2"):
        queue.push(item[:1].encode(), item)
    for tenant, work in ((b"a", 30), (b"b", 10), (b"c", 20)):
        queue.charge(tenant, work)
    assert list(queue.heads(8)) == ["b1", "c1", "a1"]
    assert list(queue.heads(2)) == ["b1", "c1"]


def test_removed_from_the_middle() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(3):
        queue.push(b"a", number)
    assert queue.remove(b"a", 1)
    assert not queue.remove(b"a", 1)
    assert not queue.remove(b"z", 1)
    assert (len(queue), queue.head()) == (2, 0)


def test_tenants_that_come_and_go_are_forgotten() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(20_000):
        queue.charge(b"%d" % number, 10)
    assert len(queue._counters) <= 4097
    for number in range(20_000):
        queue.push(b"%d" % number, number)
        queue.remove(b"%d" % number, number)
    queue.charge(b"x", 1)
    assert len(queue._counters) <= 4097
    assert len(queue._order) <= 200


@pytest.mark.parametrize("seed", range(5))
def test_random_walk_keeps_count(seed: int) -> None:
    rng = random.Random(seed)
    queue: FairQueue[tuple[bytes, int]] = FairQueue()
    inside: set[tuple[bytes, int]] = set()
    for number in range(3000):
        if rng.random() < 0.5:
            item = (b"%d" % rng.randrange(20), number)
            queue.push(item[0], item)
            inside.add(item)
        elif inside and rng.random() < 0.3:
            item = rng.choice(sorted(inside))
            assert queue.remove(item[0], item)
            inside.discard(item)
        elif inside:
            item = queue.head()
            assert item == next(queue.heads(3))
            counters = {tenant: queue.counter(tenant) for tenant, _ in inside}
            assert counters[item[0]] == min(counters.values())
            queue.charge(item[0], rng.randrange(1, 100))
            queue.remove(item[0], item)
            inside.discard(item)
        assert len(queue) == len(inside)
        assert queue.tenants() == len({tenant for tenant, _ in inside})

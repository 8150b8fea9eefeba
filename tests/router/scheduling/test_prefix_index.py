"""Who has how much of a prompt."""

from __future__ import annotations

import random

import pytest

from headrace.router.scheduling.prefix_index import PrefixIndex, cut
from headrace.router.worker import Worker
from tests.router.fleet import prefix, ready, tell


def keys(*blocks: int) -> list[bytes]:
    return cut(prefix(*blocks).encode())


def shares(index: PrefixIndex, blocks: list[bytes], workers: list[Worker]) -> list[float]:
    matches = index.match(blocks)
    return [index.cached(matches, worker) for worker in workers]


def test_shares_are_bytes_of_the_common_beginning() -> None:
    index = PrefixIndex()
    full, half, none = ready(3)
    index.add(keys(1, 2, 3, 4), full)
    index.add(keys(1, 2, 8, 9), half)
    assert shares(index, keys(1, 2, 3, 4), [full, half, none]) == [1.0, 0.5, 0.0]
    assert shares(index, keys(7, 2, 3, 4), [full, half, none]) == [0.0, 0.0, 0.0]


def test_later_blocks_stand_for_more_bytes() -> None:
    index = PrefixIndex()
    [worker] = ready(1)
    index.add(keys(*range(64)), worker)
    [share] = shares(index, keys(*range(65)), [worker])
    assert share == pytest.approx(64 * 256 / (64 * 256 + 1024))


@pytest.mark.parametrize("turns", [2, 5, 17, 40, 100, 255])
def test_next_turn_of_a_conversation_is_met_exactly(turns: int) -> None:
    index = PrefixIndex()
    [worker] = ready(1)
    index.add(keys(*range(turns)), worker)
    matches = index.match(keys(*range(turns), 1000))
    assert matches
    expected = index.match(keys(*range(turns)))
    assert expected[0][1] == 1.0
    assert index.cached(matches, worker) > 0.5


def test_what_is_shared_in_between_is_found_up_to_a_factor() -> None:
    index = PrefixIndex()
    [worker] = ready(1)
    for common in range(1, 60):
        index.forget(worker)
        index.add(keys(*range(common), *range(1000, 1064 - common)), worker)
        [share] = shares(index, keys(*range(common), *range(2000, 2064 - common)), [worker])
        assert common / 64 / 1.5 <= share <= common / 64 + 1e-9


def test_third_prompt_with_a_beginning_is_told_exactly_where_it_parts() -> None:
    index = PrefixIndex()
    first, second = ready(2)
    shared = range(29)  # between the depths 22 and 32
    index.add(keys(*shared, 100, *range(200, 220)), first)
    index.add(keys(*shared, 101, *range(200, 220)), first)
    index.add(keys(*shared, 102, *range(200, 220)), second)
    assert shares(index, keys(*shared, 103), [first, second]) == pytest.approx([29 / 30, 29 / 30])


def test_forgotten_worker_has_nothing_and_its_place_is_used_again() -> None:
    index = PrefixIndex()
    first, second, third = ready(3)
    for worker in (first, second):
        index.add(keys(1, 2), worker)
    index.forget(first)
    index.forget(first)
    index.add(keys(5, 6), third)
    assert shares(index, keys(1, 2), [first, second, third]) == [0.0, 1.0, 0.0]
    assert shares(index, keys(5, 6), [first, second, third]) == [0.0, 0.0, 1.0]
    for worker in (second, third):
        index.forget(worker)
    assert (len(index), index._holders) == (0, {})


def test_memory_is_bounded_and_the_least_recently_used_goes_first() -> None:
    index = PrefixIndex(capacity=1024)
    first, second = ready(2)
    index.add(keys(1, 2), second)
    index.add(keys(0, 1, 2), first)
    for number in range(1000):
        index.add(keys(10 + number, 1, 2), first)
        index.add(keys(0, 1, 2), first)
    assert len(index) <= 512 + 2
    assert len(index._holders) <= 512 + 2
    assert shares(index, keys(0, 1, 2), [first]) == [1.0]
    assert shares(index, keys(10, 1, 2), [first]) == [0.0]
    assert shares(index, keys(1, 2), [second]) == [1.0]


def test_no_more_is_believed_than_the_kv_cache_holds() -> None:
    index = PrefixIndex()
    [worker] = ready(1, kv_total=40, block_size=16)  # 2,560 bytes of text: ten blocks
    for number in range(50):
        index.add(keys(number, 1, 2, 3), worker)
    held = [share for number in range(50) for share in shares(index, keys(number, 1, 2, 3), [worker])]
    assert 2 <= held.count(1.0) <= 3
    assert held[-1] == 1.0
    tell(worker, kv_total=40_000, block_size=16)
    for number in range(50):
        index.add(keys(number, 1, 2, 3), worker)
    assert all(shares(index, keys(number, 1, 2, 3), [worker]) == [1.0] for number in range(50))


def test_holders_of_the_most_come_first() -> None:
    index = PrefixIndex()
    first, second, third = ready(3)
    index.add(keys(1), first)
    index.add(keys(1, 2, 3), second)
    index.add(keys(1, 2), third)
    matches = index.match(keys(1, 2, 3))
    assert index.holders(matches, 8) == [second, third, first]
    assert index.holders(matches, 1) == [second]


def test_malformed_and_overlong_headers_are_cut() -> None:
    assert cut(b"") == []
    assert cut(b"0" * 15) == []
    assert len(cut(b"0" * 31)) == 1
    assert len(cut(b"0" * 16 * 300)) == 256


def test_random_walk_agrees_with_a_plain_set() -> None:
    rng = random.Random(3)
    index = PrefixIndex()
    workers = ready(5)
    told: dict[Worker, set[bytes]] = {worker: set() for worker in workers}
    for _ in range(500):
        worker = rng.choice(workers)
        if rng.random() < 0.05:
            index.forget(worker)
            told[worker] = set()
        prompt = [rng.randrange(2) for _ in range(rng.randrange(1, 4))]
        index.add(keys(*prompt), worker)
        told[worker].update(keys(*prompt))
        asked = keys(*[rng.randrange(2) for _ in range(4)])
        for other, share in zip(workers, shares(index, asked, workers), strict=True):
            depth = sum(key in told[other] for key in asked)
            assert share in (depth / 4, min(depth, 3) / 4)

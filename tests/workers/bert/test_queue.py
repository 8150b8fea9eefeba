from __future__ import annotations

import random

import pytest

from headrace.workers.bert.queue import NARROWEST_PACKED, Flow, Row, RowQueue, padded


def fill(queue: RowQueue[Flow], lengths: list[int]) -> Flow:
    flow = Flow()
    for index, length in enumerate(lengths):
        queue.put(flow, index, [1] * length)
    return flow


def lengths(rows: list[Row[Flow]]) -> list[int]:
    return [len(row.ids) for row in rows]


def test_width_is_the_next_multiple_of_eight() -> None:
    assert [padded(tokens) for tokens in (1, 8, 9, 256)] == [8, 8, 16, 256]


def test_an_empty_queue_gives_no_batch() -> None:
    assert RowQueue[Flow]().take(64) == []


def test_a_batch_stays_within_the_padded_budget() -> None:
    queue = RowQueue[Flow]()
    fill(queue, [15] * 10)
    assert lengths(queue.take(64)) == [15] * 4


def test_a_row_beyond_the_budget_goes_alone() -> None:
    queue = RowQueue[Flow]()
    fill(queue, [200, 200])
    assert lengths(queue.take(64)) == [200]


def test_a_batch_holds_rows_of_one_length_class() -> None:
    queue = RowQueue[Flow]()
    fill(queue, [64, 8, 60, 8, 62])
    assert lengths(queue.take(1024)) == [64, 60, 62]
    assert lengths(queue.take(1024)) == [8, 8]


def test_a_batch_is_filled_up_with_rows_a_little_shorter() -> None:
    queue = RowQueue[Flow]()
    fill(queue, [64, 56, 48, 40])
    assert lengths(queue.take(1024)) == [64, 56, 48]


def test_where_padding_costs_little_a_batch_mixes_lengths_more() -> None:
    queue = RowQueue[Flow](NARROWEST_PACKED)
    fill(queue, [64, 40, 32, 24])
    assert lengths(queue.take(1024)) == [64, 40, 32]


def test_rows_of_a_call_leave_in_order_within_a_length() -> None:
    queue = RowQueue[Flow]()
    fill(queue, [8] * 6)
    assert [row.index for row in queue.take(32)] == [0, 1, 2, 3]
    assert [row.index for row in queue.take(32)] == [4, 5]


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_single_row_is_in_one_of_the_next_two_batches_whatever_the_bulk(seed: int) -> None:
    dice = random.Random(seed)
    queue = RowQueue[Flow]()
    for _ in range(8):
        fill(queue, [dice.randint(1, 256) for _ in range(500)])
    for _ in range(16):  # the first rows of the eight calls are as new as any
        queue.take(1024)
    for _ in range(100):
        single = fill(queue, [dice.randint(1, 256)])
        batches = [queue.take(1024) for _ in range(2)]
        assert any(row.flow is single for rows in batches for row in rows)


def test_no_row_starves_behind_a_stream_of_short_calls() -> None:
    queue = RowQueue[Flow]()
    bulk = fill(queue, [256] * 4)
    for _ in range(500):
        fill(queue, [8])
        queue.take(256)
    assert queue.drop(bulk) == 0


def test_calls_of_the_same_size_share_the_batches() -> None:
    queue = RowQueue[Flow]()
    first, second = fill(queue, [8] * 100), fill(queue, [8] * 100)
    rows = queue.take(160)
    assert sum(row.flow is first for row in rows) == sum(row.flow is second for row in rows) == 10


def test_dropped_rows_leave_at_once() -> None:
    queue = RowQueue[Flow]()
    gone, stays = fill(queue, [8, 20, 8]), fill(queue, [8])
    assert queue.drop(gone) == 3
    assert (len(queue), queue.tokens) == (1, 8)
    assert [row.flow for row in queue.take(1024)] == [stays]
    assert queue.take(1024) == []


def test_counts_follow_every_change() -> None:
    queue = RowQueue[Flow]()
    fill(queue, [5, 9, 100])
    assert (len(queue), queue.tokens) == (3, 114)
    taken = queue.take(16)
    assert (len(queue), queue.tokens) == (2, 114 - sum(lengths(taken)))

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from headrace.errors import DeadlineExceeded, InternalError, Overloaded
from headrace.telemetry.metrics import Registry
from headrace.workers.bert.engine import Engine
from headrace.workers.bert.metrics import BertMetrics
from headrace.workers.contract import Progress
from tests.workers.bert.conftest import until
from tests.workers.bert.harness import FakeBackend


class Clock:
    """Moves only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """An engine over a fake backend."""

    def __init__(self, backend: FakeBackend, **options: Any) -> None:
        self.backend = backend
        self.metrics = BertMetrics(Registry())
        self.progress = Progress()
        self.engine = Engine(backend, self.metrics, self.progress, **{"batch_tokens": 64, "max_rows": 16, **options})
        self.engine.start()

    async def embed(self, rows: list[list[int]]) -> list[list[float]]:
        with self.engine.call(len(rows)) as call:
            for index, ids in enumerate(rows):
                self.engine.put(call, index, ids)
            vectors: list[list[float]] = (await self.engine.result(call)).tolist()
            return vectors


Open = Callable[..., Bench]


@pytest_asyncio.fixture
async def bench(backend: FakeBackend) -> AsyncIterator[Open]:
    benches: list[Bench] = []

    def make(**options: Any) -> Bench:
        benches.append(Bench(backend, **options))
        return benches[-1]

    yield make
    backend.gate.set()
    for each in benches:
        await each.engine.close()


async def held(bench: Bench, rows: list[list[int]]) -> asyncio.Task[list[list[float]]]:
    """A call whose batch is being computed, until the gate opens."""
    bench.backend.gate.clear()
    before = len(bench.backend.batches)
    task = asyncio.create_task(bench.embed(rows))
    await until(lambda: len(bench.backend.batches) > before)
    return task


async def test_vectors_come_back_in_the_order_of_the_rows(bench: Open) -> None:
    rows = [[5] * length for length in (30, 3, 17, 64, 1, 30)]
    assert await bench().embed(rows) == [[5, len(row)] for row in rows]


async def test_calls_share_a_batch(bench: Open) -> None:
    it = bench()
    first = await held(it, [[1]])
    others = [asyncio.create_task(it.embed([[number]])) for number in (2, 3, 4)]
    await until(lambda: it.engine.waiting_rows == 3)
    it.backend.gate.set()
    assert await asyncio.gather(first, *others) == [[[1, 1]], [[2, 1]], [[3, 1]], [[4, 1]]]
    assert it.backend.batches[1:] == [[[2], [3], [4]]]


async def test_streams_work_side_by_side(backend: FakeBackend, bench: Open) -> None:
    backend.streams = 2
    it = bench()
    backend.gate.clear()
    tasks = [asyncio.create_task(it.embed([[number] * 60])) for number in (1, 2)]
    await until(lambda: len(backend.batches) == 2)
    backend.gate.set()
    assert await asyncio.gather(*tasks) == [[[1, 60]], [[2, 60]]]


async def test_a_cancelled_call_s_rows_leave_the_queue(bench: Open) -> None:
    it = bench()
    running = await held(it, [[1]])
    gone = asyncio.create_task(it.embed([[2], [3]]))
    await until(lambda: it.engine.waiting_rows == 2)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert (it.engine.waiting_rows, it.engine.waiting_tokens, it.engine.waiting_calls) == (0, 0, 0)
    assert it.metrics.dropped.value == 2
    it.backend.gate.set()
    await running
    assert it.backend.batches == [[[1]]]


async def test_a_call_cancelled_inside_a_batch_harms_nobody(bench: Open) -> None:
    it = bench()
    running = await held(it, [[1], [1]])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    it.backend.gate.set()
    assert await it.embed([[2]]) == [[2, 1]]
    assert it.engine.waiting_rows == 0


async def test_too_many_waiting_rows_are_refused_with_the_time_to_wait(bench: Open) -> None:
    clock = Clock()
    it = bench(clock=clock, max_rows=8)
    first = await held(it, [[1]] * 2)
    clock.now += 4  # two rows in four seconds: half a row a second
    it.backend.gate.set()
    await first
    second = await held(it, [[1] * 64])
    waiting = asyncio.create_task(it.embed([[2]] * 6))
    await until(lambda: it.engine.waiting_rows == 6)
    with pytest.raises(Overloaded, match="6 inputs wait here and 8 may") as caught:
        await it.embed([[3]] * 3)
    assert caught.value.retry_after == pytest.approx(2)
    it.backend.gate.set()
    await asyncio.gather(second, waiting)


async def test_an_idle_engine_takes_a_call_of_any_size(bench: Open) -> None:
    assert len(await bench(max_rows=4).embed([[1]] * 100)) == 100


async def test_rows_that_are_not_tokenised_yet_count_as_waiting(bench: Open) -> None:
    it = bench(max_rows=8)
    with it.engine.call(8):
        assert it.engine.waiting_rows == 8
        with pytest.raises(Overloaded), it.engine.call(1):
            pass
    assert it.engine.waiting_rows == 0


async def test_a_failed_batch_fails_its_calls_and_no_others(bench: Open, caplog: pytest.LogCaptureFixture) -> None:
    it = bench()
    it.backend.error = RuntimeError("no memory")
    with caplog.at_level(logging.CRITICAL, "headrace.workers.bert.engine"), pytest.raises(InternalError):
        await it.embed([[1]])
    assert not it.engine.broken
    it.backend.error = None
    assert await it.embed([[2]]) == [[2, 1]]


async def test_a_backend_that_keeps_failing_is_broken_until_it_works_again(bench: Open) -> None:
    it = bench()
    it.backend.error = RuntimeError("no memory")
    for _ in range(3):
        with pytest.raises(InternalError):
            await it.embed([[1]])
    assert it.engine.broken
    it.backend.error = None
    await it.embed([[1]])
    assert not it.engine.broken


async def test_a_call_has_a_time_limit(bench: Open) -> None:
    it = bench(timeout=0.05)
    with pytest.raises(DeadlineExceeded, match="not ready within"):
        await (await held(it, [[1]]))


async def test_close_fails_what_still_waits(backend: FakeBackend) -> None:
    it = Bench(backend)
    running = await held(it, [[1]])
    waiting = asyncio.create_task(it.embed([[2]]))
    await until(lambda: it.engine.waiting_rows == 1)
    closing: Awaitable[None] = asyncio.create_task(it.engine.close())
    outcomes = await asyncio.gather(running, waiting, return_exceptions=True)
    backend.gate.set()
    await closing
    assert [type(outcome) for outcome in outcomes] == [Overloaded, Overloaded]


async def test_batches_are_counted(bench: Open) -> None:
    it = bench()
    await it.embed([[1] * 10, [1] * 12])
    metrics = it.metrics
    assert (metrics.rows.value, metrics.tokens.value, metrics.padding.value) == (2, 22, 10)
    assert metrics.batch_tokens.sum == 32
    assert sum(metrics.batch_seconds.counts) == it.progress.iterations == 1


async def test_a_call_counts_as_running_once_a_row_is_in_a_batch(bench: Open) -> None:
    it = bench()
    running = await held(it, [[1]])
    waiting = asyncio.create_task(it.embed([[2]]))
    await until(lambda: it.engine.waiting_rows == 1)
    assert (it.engine.running_calls, it.engine.waiting_calls, it.engine.waiting_tokens) == (1, 1, 1)
    it.backend.gate.set()
    await asyncio.gather(running, waiting)
    assert (it.engine.running_calls, it.engine.waiting_calls) == (0, 0)

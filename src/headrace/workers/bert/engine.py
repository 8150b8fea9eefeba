"""Runs calls through the backend: admission, batches, results."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from headrace.errors import DeadlineExceeded, InternalError, Overloaded
from headrace.workers.bert.backend import Backend, Batch
from headrace.workers.bert.metrics import BertMetrics
from headrace.workers.bert.queue import NARROWEST, NARROWEST_PACKED, Flow, Row, RowQueue, padded
from headrace.workers.contract import Progress

log = logging.getLogger(__name__)

_FAILURES = 3
"""Batches in a row that fail before the backend counts as broken."""
_SMOOTHING = 0.1
"""Weight of the latest batch in the measured rate."""


class Call(Flow):
    """One request's rows: ``outputs`` (rows × the backend's) is complete when ``Engine.result`` returns."""

    __slots__ = ("_left", "_result", "dispatched", "outputs", "rows", "since")

    def __init__(self, rows: int, since: float) -> None:
        """``since``: when it came, by the engine's clock."""
        super().__init__()
        self.rows = rows
        self.since = since
        self.dispatched = 0
        """Rows that are in a batch or computed."""
        self.outputs: NDArray[np.float32] | None = None
        self._left = rows
        self._result: asyncio.Future[NDArray[np.float32]] = asyncio.get_running_loop().create_future()

    def deliver(self, indices: list[int], outputs: NDArray[np.float32]) -> None:
        if self.outputs is None:
            self.outputs = np.empty((self.rows, outputs.shape[1]), np.float32)
        self.outputs[indices] = outputs
        self._left -= len(indices)
        if self._left == 0 and not self._result.done():
            self._result.set_result(self.outputs)

    def fail(self, error: Exception) -> None:
        if not self._result.done():
            self._result.set_exception(error)

    async def wait(self) -> NDArray[np.float32]:
        return await self._result


class Engine:
    """Batches the rows of all calls. Lives on one event loop; the backend computes in threads of its own."""

    def __init__(
        self,
        backend: Backend,
        metrics: BertMetrics,
        progress: Progress,
        *,
        batch_tokens: int,
        max_rows: int,
        timeout: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A batch has at most ``batch_tokens`` with padding; ``max_rows`` may wait; a call has ``timeout`` seconds."""
        self._backend = backend
        self._metrics = metrics
        self._progress = progress
        self._batch_tokens = batch_tokens
        self._max_rows = max_rows
        self._timeout = timeout
        self._clock = clock
        self.waiting_rows = 0
        """Rows that were admitted and are in no batch yet; those that are still being tokenised are among them."""
        self._queue: RowQueue[Call] = RowQueue(NARROWEST_PACKED if backend.packs else NARROWEST)
        self._calls: set[Call] = set()
        self._filled = asyncio.Event()
        self._rate = 0.0
        self._failures = 0
        self._threads = ThreadPoolExecutor(backend.streams, thread_name_prefix="bert")
        self._runners: list[asyncio.Task[None]] = []

    @property
    def waiting_tokens(self) -> int:
        return self._queue.tokens

    @property
    def running_calls(self) -> int:
        return sum(call.dispatched > 0 for call in self._calls)

    @property
    def waiting_calls(self) -> int:
        return len(self._calls) - self.running_calls

    @property
    def broken(self) -> bool:
        """Whether the backend fails again and again."""
        return self._failures >= _FAILURES

    def start(self) -> None:
        self._runners = [asyncio.create_task(self._run()) for _ in range(self._backend.streams)]

    async def close(self) -> None:
        """Stop; calls that still wait fail. A batch that is being computed is waited for."""
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        for call in self._calls:
            call.fail(Overloaded("This worker is stopping; use another one.", code="draining", retry_after=1))
        await asyncio.to_thread(self._threads.shutdown)

    @contextmanager
    def call(self, rows: int) -> Iterator[Call]:
        """Admit a request with ``rows`` rows; what is left of it when the block ends leaves the queue.

        Raises Overloaded where the rows that wait would become too many. An idle worker takes any call.
        """
        excess = self.waiting_rows + rows - self._max_rows
        if excess > 0 and self.waiting_rows:
            raise Overloaded(
                f"{self.waiting_rows} inputs wait here and {self._max_rows} may; try again later.",
                retry_after=excess / self._rate if self._rate else 1.0,
            )
        call = Call(rows, self._clock())
        self._calls.add(call)
        self.waiting_rows += rows
        self._progress.begin()
        try:
            yield call
        finally:
            self._progress.end()
            self._calls.discard(call)
            self.waiting_rows -= call.rows - call.dispatched
            self._metrics.dropped.inc(self._queue.drop(call))

    def put(self, call: Call, index: int, ids: list[int], second: int | None = None) -> None:
        """Queue one row of a call; ``second`` is where its second text begins, if it has one."""
        self._queue.put(call, index, ids, second)
        self._filled.set()

    async def result(self, call: Call) -> NDArray[np.float32]:
        """The outputs of all rows, in their order. Raises InternalError or DeadlineExceeded."""
        try:
            async with asyncio.timeout(self._timeout):
                return await call.wait()
        except TimeoutError:
            raise DeadlineExceeded(f"The answer was not ready within {self._timeout:.0f} s.") from None

    async def _run(self) -> None:
        while True:
            rows = self._queue.take(self._batch_tokens)
            if rows:
                await self._compute(rows)
            else:
                self._filled.clear()
                await self._filled.wait()

    async def _compute(self, rows: list[Row[Call]]) -> None:
        calls: dict[Call, list[int]] = {}
        for place, row in enumerate(rows):
            calls.setdefault(row.flow, []).append(place)
        began = self._clock()
        for call, places in calls.items():
            if not call.dispatched:
                self._metrics.queue_seconds.observe(began - call.since)
            call.dispatched += len(places)
        self.waiting_rows -= len(rows)
        try:
            outputs = await asyncio.get_running_loop().run_in_executor(self._threads, self._infer, rows)
        except Exception:  # a defect of the backend must reach the clients that wait, whatever it is
            log.exception("a batch failed", extra={"rows": len(rows)})
            self._failures += 1
            for call in calls:
                call.fail(InternalError("The model failed on this batch; try again.", code="engine_error"))
            return
        self._failures = 0
        self._account(rows, self._clock() - began)
        for call, places in calls.items():
            call.deliver([rows[place].index for place in places], outputs[places])

    def _infer(self, rows: list[Row[Call]]) -> NDArray[np.float32]:
        lengths = np.array([len(row.ids) for row in rows], np.int32)
        ids = np.zeros((len(rows), padded(int(lengths.max()))), np.int32)
        for place, row in enumerate(rows):
            ids[place, : len(row.ids)] = row.ids
        seconds = np.array([row.second for row in rows], np.int32)
        return self._backend.infer(Batch(ids, lengths, seconds))

    def _account(self, rows: list[Row[Call]], seconds: float) -> None:
        self._progress.step()
        tokens = sum(len(row.ids) for row in rows)
        total = len(rows) * padded(max(len(row.ids) for row in rows))
        rate = len(rows) * self._backend.streams / max(seconds, 1e-6)
        self._rate += _SMOOTHING * (rate - self._rate) if self._rate else rate
        metrics = self._metrics
        metrics.rows.inc(len(rows))
        metrics.tokens.inc(tokens)
        metrics.padding.inc(total - tokens)
        metrics.batch_tokens.observe(total)
        metrics.batch_seconds.observe(seconds)

"""What runs and what waits: a bounded queue in front of the engine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import count

from headrace.errors import Overloaded
from headrace.workers.contract import Progress
from headrace.workers.cpu.messages import Cancel, Command, Finish, Output, Sampling, Start, Step
from headrace.workers.cpu.metrics import CpuMetrics

_MAX_RETRY = 60.0
_DEFAULT_RETRY = 5.0
_RATE_WINDOW = 64
"""Finished sequences that the drain rate is measured over."""


class Sequence:
    """One generation. The scheduler fills ``tokens``; whoever reads them clears it.

    ``ended`` is empty until the last token is there. ``on_change`` is called when there is something to read.
    """

    __slots__ = ("ended", "id", "last", "logprobs", "on_change", "prompt", "sampling", "since", "tokens")

    def __init__(
        self, id_: int, prompt: list[int], sampling: Sampling, since: float, on_change: Callable[[], None]
    ) -> None:
        self.id = id_
        self.prompt = prompt
        self.sampling = sampling
        self.since = since
        self.on_change = on_change
        self.last = 0.0
        """When the last token came; 0 before the first."""
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.ended: Finish = ""


class Scheduler:
    """First come, first served; at most ``max_running`` sequences are with the engine, so that a cancelled one that
    waits costs nothing."""

    def __init__(
        self,
        max_running: int,
        max_waiting: int,
        progress: Progress,
        metrics: CpuMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_running = max_running
        self.max_waiting = max_waiting
        self.queued_tokens = 0
        self.kv_used = 0
        self._progress = progress
        self._metrics = metrics
        self._clock = clock
        self._ids = count(1)
        self._send: Callable[[Command], None] | None = None
        self._running: dict[int, Sequence] = {}
        self._waiting: dict[int, Sequence] = {}
        self._finish_times: deque[float] = deque(maxlen=_RATE_WINDOW)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def attach(self, send: Callable[[Command], None]) -> None:
        """An engine is there; what waits goes to it."""
        self._send = send
        self._dispatch()

    def detach(self) -> None:
        """The engine is gone, and what it ran with it; what waits goes on waiting."""
        self._send = None
        self.kv_used = 0
        for sequence in list(self._running.values()):
            self._end(sequence, "failed")

    def reserve(self, sequences: int) -> None:
        """Raises Overloaded where ``sequences`` more would be too many."""
        free = self.max_running - self.running - self.waiting
        if sequences - max(free, 0) + self.waiting > self.max_waiting:
            self._metrics.refused.inc()
            raise Overloaded(
                f"This worker has {self.waiting} requests waiting and takes no more.", retry_after=self.retry_after()
            )

    def submit(self, prompt: list[int], sampling: Sampling, on_change: Callable[[], None]) -> Sequence:
        """Queue a sequence that there is room for (``reserve``)."""
        sequence = Sequence(next(self._ids), prompt, sampling, self._clock(), on_change)
        self._waiting[sequence.id] = sequence
        self.queued_tokens += len(prompt)
        self._metrics.prompt_tokens.inc(len(prompt))
        self._dispatch()
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Nobody reads this one any more; a slot is free again when the engine says that it let go."""
        if sequence.id in self._waiting:
            self._leave_queue(sequence)
            self._end(sequence, "cancelled")
        elif sequence.id in self._running and self._send is not None:
            self._send(Cancel(sequence.id))

    def stepped(self, step: Step) -> None:
        """Take in what the engine reports."""
        now = self._clock()
        self._progress.step()
        self._metrics.iterations.inc()
        self.kv_used = step.kv_used
        for output in step.outputs:
            sequence = self._running.get(output.id)
            if sequence is not None:
                self._take(sequence, output, now)
        self._dispatch()

    def retry_after(self) -> float:
        """Seconds until the queue of now is through, at the rate of the last finished sequences."""
        times = self._finish_times
        if len(times) < 2 or times[-1] <= times[0]:
            return _DEFAULT_RETRY
        rate = (len(times) - 1) / (self._clock() - times[0])
        return min(max(1.0, self.waiting / rate), _MAX_RETRY)

    def _take(self, sequence: Sequence, output: Output, now: float) -> None:
        if output.tokens:
            if sequence.last == 0.0:
                self._metrics.ttft_seconds.observe(now - sequence.since)
            else:
                self._metrics.itl_seconds.observe((now - sequence.last) / len(output.tokens))
            sequence.last = now
            sequence.tokens += output.tokens
            sequence.logprobs += output.logprobs
            self._metrics.generation_tokens.inc(len(output.tokens))
        if output.finish:
            self._end(sequence, output.finish)
        else:
            sequence.on_change()

    def _dispatch(self) -> None:
        while self._send is not None and self._waiting and self.running < self.max_running:
            sequence = next(iter(self._waiting.values()))
            self._leave_queue(sequence)
            self._running[sequence.id] = sequence
            self._progress.begin()
            self._metrics.queue_seconds.observe(self._clock() - sequence.since)
            self._send(Start(sequence.id, sequence.prompt, sequence.sampling))

    def _leave_queue(self, sequence: Sequence) -> None:
        del self._waiting[sequence.id]
        self.queued_tokens -= len(sequence.prompt)

    def _end(self, sequence: Sequence, finish: Finish) -> None:
        if self._running.pop(sequence.id, None) is not None:
            self._progress.end()
            self._finish_times.append(self._clock())
        sequence.ended = finish
        self._metrics.finished[finish].inc()
        sequence.on_change()

from __future__ import annotations

import pytest

from headrace.errors import Overloaded
from headrace.telemetry.metrics import Registry
from headrace.workers.contract import Progress
from headrace.workers.cpu.messages import Cancel, Command, Finish, Output, Sampling, Start, Step
from headrace.workers.cpu.metrics import CpuMetrics
from headrace.workers.cpu.scheduler import Scheduler, Sequence

SAMPLING = Sampling(max_tokens=10)


class Bench:
    """A scheduler with an engine that does what the test says."""

    def __init__(self, max_running: int = 2, max_waiting: int = 3) -> None:
        self.now = 1000.0
        self.metrics = CpuMetrics(Registry())
        self.progress = Progress(lambda: self.now)
        self.scheduler = Scheduler(max_running, max_waiting, self.progress, self.metrics, lambda: self.now)
        self.sent: list[Command] = []
        self.changes = 0

    def attach(self) -> None:
        self.scheduler.attach(self.sent.append)

    def submit(self, tokens: int = 5) -> Sequence:
        self.scheduler.reserve(1)
        return self.scheduler.submit([1] * tokens, SAMPLING, self._changed)

    def step(self, sequence: Sequence, tokens: list[int], finish: Finish = "", kv_used: int = 0) -> None:
        logprobs = [-1.0] * len(tokens)
        self.scheduler.stepped(Step(kv_used, [Output(sequence.id, tokens, logprobs, finish)]))

    def started(self) -> list[int]:
        return [command.id for command in self.sent if isinstance(command, Start)]

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.attach()
    return bench


def test_first_come_first_served_up_to_max_running(bench: Bench) -> None:
    a, b, c, d = (bench.submit() for _ in range(4))
    scheduler = bench.scheduler
    assert bench.started() == [a.id, b.id]
    assert (scheduler.running, scheduler.waiting, scheduler.queued_tokens) == (2, 2, 10)
    bench.step(b, [7], "stop")
    assert bench.started() == [a.id, b.id, c.id]
    assert (scheduler.running, scheduler.waiting, scheduler.queued_tokens) == (2, 1, 5)
    assert d.id not in bench.started()


def test_start_carries_prompt_and_sampling(bench: Bench) -> None:
    sequence = bench.submit(3)
    assert bench.sent == [Start(sequence.id, [1, 1, 1], SAMPLING)]


def test_tokens_and_end_reach_the_sequence(bench: Bench) -> None:
    sequence = bench.submit()
    bench.step(sequence, [7], kv_used=4)
    bench.step(sequence, [8], "length")
    assert (sequence.tokens, sequence.logprobs, sequence.ended) == ([7, 8], [-1.0, -1.0], "length")
    assert bench.changes == 2
    assert (bench.scheduler.running, bench.scheduler.kv_used) == (0, 0)


def test_more_than_max_waiting_is_refused(bench: Bench) -> None:
    for _ in range(5):
        bench.submit()
    with pytest.raises(Overloaded) as refused:
        bench.submit()
    assert refused.value.retry_after is not None
    assert bench.scheduler.waiting == 3
    assert bench.metrics.refused.value == 1


def test_reserve_counts_all_sequences_of_a_request(bench: Bench) -> None:
    bench.scheduler.reserve(5)
    with pytest.raises(Overloaded):
        bench.scheduler.reserve(6)


def test_retry_after_is_the_queue_at_the_measured_rate() -> None:
    bench = Bench(max_running=1, max_waiting=8)
    bench.attach()
    assert bench.scheduler.retry_after() == 5
    sequences = [bench.submit() for _ in range(9)]
    for sequence in sequences[:3]:
        bench.now += 2
        bench.step(sequence, [1], "stop")
    assert bench.scheduler.waiting == 5
    assert bench.scheduler.retry_after() == pytest.approx(5 * 2)
    bench.now += 1000
    assert bench.scheduler.retry_after() == 60


def test_cancelled_while_it_waits(bench: Bench) -> None:
    _, _, c = (bench.submit() for _ in range(3))
    bench.scheduler.cancel(c)
    assert (bench.scheduler.waiting, bench.scheduler.queued_tokens, c.ended) == (0, 0, "cancelled")
    assert not any(isinstance(command, Cancel) for command in bench.sent)


def test_cancelled_while_it_runs_counts_until_the_engine_lets_go(bench: Bench) -> None:
    a, _, c = (bench.submit() for _ in range(3))
    bench.scheduler.cancel(a)
    assert bench.sent[-1] == Cancel(a.id)
    assert bench.scheduler.running == 2
    bench.step(a, [], "cancelled")
    assert bench.started()[-1] == c.id
    assert bench.metrics.finished["cancelled"].value == 1


def test_cancelling_what_is_over_is_nothing(bench: Bench) -> None:
    a = bench.submit()
    bench.step(a, [1], "stop")
    bench.scheduler.cancel(a)
    assert a.ended == "stop"
    assert not any(isinstance(command, Cancel) for command in bench.sent)


def test_output_of_a_sequence_that_is_over_is_nothing(bench: Bench) -> None:
    a = bench.submit()
    bench.step(a, [1], "stop")
    bench.step(a, [2], "stop")
    assert a.tokens == [1]
    assert bench.metrics.finished["stop"].value == 1


def test_engine_that_dies_fails_what_runs_and_keeps_what_waits(bench: Bench) -> None:
    a, b, c = (bench.submit() for _ in range(3))
    bench.step(a, [1], kv_used=9)
    bench.scheduler.detach()
    assert (a.ended, b.ended, c.ended) == ("failed", "failed", "")
    assert (bench.scheduler.running, bench.scheduler.waiting, bench.scheduler.kv_used) == (0, 1, 0)
    bench.now += 1000
    assert bench.progress.stalled() == 0
    bench.attach()
    assert bench.started()[-1] == c.id


def test_what_comes_before_the_engine_waits() -> None:
    bench = Bench()
    a = bench.submit()
    assert bench.scheduler.waiting == 1
    bench.scheduler.cancel(a)
    b = bench.submit()
    bench.attach()
    assert bench.started() == [b.id]


def test_progress_follows_dispatch_and_steps(bench: Bench) -> None:
    a = bench.submit()
    bench.now += 31
    assert bench.progress.stalled() == 31
    bench.step(a, [1])
    assert (bench.progress.stalled(), bench.progress.iterations) == (0, 1)
    bench.step(a, [], "stop")
    bench.now += 1000
    assert bench.progress.stalled() == 0


def test_latencies_are_measured(bench: Bench) -> None:
    a = bench.submit()
    bench.now += 0.5
    bench.step(a, [1])
    bench.now += 0.25
    bench.step(a, [2], "stop")
    assert bench.metrics.ttft_seconds.sum == 0.5
    assert bench.metrics.itl_seconds.sum == 0.25
    assert bench.metrics.generation_tokens.value == 2
    assert bench.metrics.prompt_tokens.value == 5

"""The engine process's loop, with an engine that counts instead of computing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest

from headrace.workers.cpu.child import Channel, serve
from headrace.workers.cpu.messages import HEADER_BYTES, Cancel, Command, Output, Report, Sampling, Start, Step, frame

SAMPLING = Sampling(max_tokens=3)


class Counter:
    """Generates 0, 1, 2, ... up to ``max_tokens``; refuses prompts that begin with 13."""

    def __init__(self) -> None:
        self._made: dict[int, int] = {}
        self._limits: dict[int, int] = {}
        self._cancelled: set[int] = set()

    @property
    def busy(self) -> bool:
        return bool(self._made)

    @property
    def kv_used(self) -> int:
        return len(self._made)

    def add(self, id_: int, prompt: list[int], sampling: Sampling) -> None:
        if prompt[0] == 13:
            raise RuntimeError("no")
        self._made[id_] = 0
        self._limits[id_] = sampling.max_tokens

    def cancel(self, id_: int) -> None:
        self._cancelled.add(id_)

    def step(self) -> list[Output]:
        return [self._next(id_) for id_ in list(self._made)]

    def _next(self, id_: int) -> Output:
        token = self._made[id_]
        if id_ in self._cancelled:
            del self._made[id_]
            return Output(id_, [], [], "cancelled")
        self._made[id_] += 1
        if self._made[id_] < self._limits[id_]:
            return Output(id_, [token], [], "")
        del self._made[id_]
        return Output(id_, [token], [], "length")


class Worker:
    """The other end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._file = sock.makefile("rb")
        self._decoder = msgspec.msgpack.Decoder(Report)

    def send(self, *commands: Command) -> None:
        self.socket.sendall(b"".join(map(frame, commands)))

    def step(self) -> Step:
        length = int.from_bytes(self._file.read(HEADER_BYTES), "big")
        report = self._decoder.decode(self._file.read(length))
        assert isinstance(report, Step)
        return report

    def outputs_until_idle(self) -> list[Output]:
        outputs: list[Output] = []
        while True:
            step = self.step()
            outputs += step.outputs
            if step.kv_used == 0:
                return outputs

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture
def worker() -> Iterator[Worker]:
    ours, theirs = socket.socketpair()
    ours.settimeout(60)

    def run() -> None:
        with theirs, suppress(EOFError):
            serve(Counter(), Channel(theirs))

    thread = threading.Thread(target=run)
    thread.start()
    worker = Worker(ours)
    yield worker
    worker.close()
    thread.join(60)
    assert not thread.is_alive()  # the end of the socket is the end of the process


def test_every_step_is_reported(worker: Worker) -> None:
    worker.send(Start(1, [5], SAMPLING))
    assert [worker.step() for _ in range(3)] == [
        Step(1, [Output(1, [0], [], "")]),
        Step(1, [Output(1, [1], [], "")]),
        Step(0, [Output(1, [2], [], "length")]),
    ]


def test_requests_in_one_packet_run_together(worker: Worker) -> None:
    worker.send(Start(1, [5], SAMPLING), Start(2, [5], SAMPLING))
    assert worker.step() == Step(2, [Output(1, [0], [], ""), Output(2, [0], [], "")])
    worker.outputs_until_idle()


def test_a_request_joins_while_another_runs(worker: Worker) -> None:
    worker.send(Start(1, [5], Sampling(max_tokens=10**9)))
    worker.step()
    worker.send(Start(2, [5], SAMPLING))
    while len(worker.step().outputs) < 2:
        pass
    worker.send(Cancel(1))
    assert worker.outputs_until_idle()[-1].finish in {"cancelled", "length"}


def test_cancel_ends_a_request(worker: Worker) -> None:
    worker.send(Start(1, [5], Sampling(max_tokens=10**9)))
    worker.step()
    worker.send(Cancel(1))
    assert worker.outputs_until_idle()[-1] == Output(1, [], [], "cancelled")


def test_cancel_of_what_is_unknown_is_nothing(worker: Worker) -> None:
    worker.send(Cancel(99), Start(1, [5], SAMPLING))
    assert worker.outputs_until_idle()[-1] == Output(1, [2], [], "length")


def test_request_that_the_engine_refuses_fails_alone(worker: Worker) -> None:
    worker.send(Start(1, [13], SAMPLING), Start(2, [5], SAMPLING))
    outputs = worker.outputs_until_idle()
    assert outputs[0] == Output(1, [], [], "failed")
    assert outputs[-1] == Output(2, [2], [], "length")


def test_commands_may_come_in_any_pieces(worker: Worker) -> None:
    data = frame(Start(1, [5], SAMPLING)) + frame(Start(2, list(range(14, 50_000)), SAMPLING))
    worker.socket.sendall(data[:3])
    worker.socket.sendall(data[3:20])
    worker.socket.sendall(data[20:])
    ended: set[int] = set()
    while ended != {1, 2}:
        ended |= {output.id for output in worker.step().outputs if output.finish}

"""The engine process: commands come in, the engine steps while there is work, every step is reported.

Started by ``process`` as ``python -m headrace.workers.cpu.child SOCKET SPEC``. It ends when the worker closes the
socket; where it is too wedged to notice that the worker is gone, the guard ends it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NoReturn, Protocol

import msgspec

from headrace.errors import ModelError
from headrace.workers.cpu.messages import (
    HEADER_BYTES,
    Cancel,
    Command,
    EngineSpec,
    Failed,
    Output,
    Ready,
    Report,
    Sampling,
    Step,
    frame,
)
from headrace.workers.cpu.pipeline import Pipeline

_CHUNK = 256 * 1024


class Engine(Protocol):
    """The seam between the loop of this process and what computes."""

    @property
    def busy(self) -> bool: ...

    @property
    def kv_used(self) -> int:
        """Blocks in use after the last step."""

    def add(self, id_: int, prompt: list[int], sampling: Sampling) -> None: ...

    def cancel(self, id_: int) -> None: ...

    def step(self) -> list[Output]:
        """What is new since the step before."""


class Channel:
    """The child's end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()
        self._decoder = msgspec.msgpack.Decoder(Command)

    def receive(self, *, wait: bool) -> list[Command]:
        """The commands that are there; with ``wait``, at least one. Raises EOFError when the worker is gone."""
        commands = list(self._parsed())
        while (wait and not commands) or select.select([self._socket], [], [], 0)[0]:
            data = self._socket.recv(_CHUNK)
            if not data:
                raise EOFError
            self._buffer += data
            commands += self._parsed()
        return commands

    def send(self, report: Report) -> None:
        """Raises EOFError when the worker is gone."""
        try:
            self._socket.sendall(frame(report))
        except OSError:
            raise EOFError from None

    def _parsed(self) -> Iterator[Command]:
        while len(self._buffer) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(self._buffer[:HEADER_BYTES], "big")
            if len(self._buffer) < end:
                return
            yield self._decoder.decode(self._buffer[HEADER_BYTES:end])
            del self._buffer[:end]


def serve(engine: Engine, channel: Channel) -> NoReturn:
    """Step while there is work, until EOFError."""
    while True:
        refused = [output for command in channel.receive(wait=not engine.busy) for output in _apply(engine, command)]
        outputs = engine.step() if engine.busy else []
        channel.send(Step(engine.kv_used, refused + outputs))


def _apply(engine: Engine, command: Command) -> list[Output]:
    if isinstance(command, Cancel):
        engine.cancel(command.id)
        return []
    try:
        engine.add(command.id, command.prompt, command.sampling)
    except (RuntimeError, ValueError, TypeError):  # the engine refuses these parameters: one request's fault
        return [Output(command.id, [], [], "failed")]
    return []


def main(descriptor: str, spec: str) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # sent to every process of a service, say: the worker drains first
    channel = Channel(socket.socket(fileno=int(descriptor)))
    begin = time.monotonic()
    try:
        engine = Pipeline(msgspec.json.decode(spec, type=EngineSpec))
        channel.send(Ready(time.monotonic() - begin))
        serve(engine, channel)
    except EOFError:
        return 0
    except ModelError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001  the border of the process: the worker logs it as one line
        reason = " ".join(f"{type(error).__name__}: {error}".split())
    with suppress(EOFError):
        channel.send(Failed(reason))
    return 1


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # the C++ destructors take seconds and have nothing left to save

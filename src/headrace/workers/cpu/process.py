"""The engine process as the worker sees it: start it, talk to it, notice its end."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable

import msgspec

from headrace.errors import ModelError
from headrace.workers.cpu.messages import HEADER_BYTES, Command, EngineSpec, Failed, Ready, Report, Step, frame
from headrace.workers.supervisor.guard import Guard

_EXIT_TIMEOUT = 5
"""Seconds that the process gets to notice that the worker is done with it, or gone."""


class EngineProcess:
    """One life of the engine. ``on_step`` gets every step's report, in the event loop."""

    def __init__(self, spec: EngineSpec, on_step: Callable[[Step], None]) -> None:
        self._spec = spec
        self._on_step = on_step
        self._decoder = msgspec.msgpack.Decoder(Report)
        self._process: asyncio.subprocess.Process | None = None
        self._guard: Guard | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def spawn(self) -> None:
        """Start the process; it loads the model. Raises OSError where it cannot be started."""
        self._guard = Guard(_EXIT_TIMEOUT)
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "headrace.workers.cpu.child",
                str(theirs.fileno()),
                msgspec.json.encode(self._spec).decode(),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # a group of its own, for the guard (uvloop knows no process_group)
            )
        self._guard.watch(self._process.pid)
        self._reader, self._writer = await asyncio.open_connection(sock=ours)

    async def ready(self) -> Ready:
        """Wait until the model has generated a first token. Raises ModelError."""
        report = await self._receive()
        if isinstance(report, Ready):
            return report
        reason = report.message if isinstance(report, Failed) else await self._ending()
        raise ModelError(
            f"{self._spec.path} cannot be served: {reason}. If memory is not short, "
            "the files are damaged: delete them and pull the model again"
        )

    async def run(self) -> str:
        """Pass reports on until the process ends; returns why it did."""
        while isinstance(report := await self._receive(), Step):
            self._on_step(report)
        return report.message if isinstance(report, Failed) else await self._ending()

    def send(self, command: Command) -> None:
        """Hand a command over; if the process is gone, ``run`` tells."""
        self._writer.write(frame(command))

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def close(self) -> None:
        """End the process: politely by closing its socket, and by force if it is too busy to notice."""
        if self._process is not None:
            self._writer.close()
            try:
                await asyncio.wait_for(self._process.wait(), _EXIT_TIMEOUT)
            except TimeoutError:
                self.kill()
                await self._process.wait()
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.close()
            await asyncio.to_thread(guard.reap)

    async def _receive(self) -> Report | None:
        """The next report; None at the end."""
        try:
            header = await self._reader.readexactly(HEADER_BYTES)
            body = await self._reader.readexactly(int.from_bytes(header, "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        report: Report = self._decoder.decode(body)
        return report

    async def _ending(self) -> str:
        assert self._process is not None
        code = await self._process.wait()
        if code < 0:
            return f"the engine process was ended by {signal.Signals(-code).name}"
        return f"the engine process ended with exit code {code}"

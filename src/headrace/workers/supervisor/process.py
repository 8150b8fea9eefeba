"""The engine's process: its start, its output, its end, and everything that it started itself."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import psutil

from headrace.workers.supervisor.guard import Guard

log = logging.getLogger("headrace.engine")

_TAIL_LINES = 400
_LINE_BYTES = 16 * 1024
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_PIPE_SECONDS = 5.0
"""A descendant that is not ours any more may hold the engine's output open for longer."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class Children:
    """Reaps what ends below this process: the engine, and as PID 1 also whatever orphans the kernel hands us.

    It takes every child's status, so nothing else in this process may wait for children.
    """

    def __init__(self) -> None:
        self._ended: dict[int, asyncio.Future[int]] = {}

    def start(self) -> None:
        """Orphans come to us even where we are not PID 1, so that none of the engine's outlives it."""
        with contextlib.suppress(OSError, AttributeError):  # not on a Mac
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)

    def watch(self, pid: int) -> asyncio.Future[int]:
        """The exit code of a child, once it ended: negative for a signal."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ended[pid] = future
        self.reap()
        return future

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            future = self._ended.pop(pid, None)
            if future is not None and not future.done():
                future.set_result(os.waitstatus_to_exitcode(status))


class EngineProcess:
    """One life of an engine."""

    def __init__(
        self, pid: int, ended: asyncio.Future[int], tail: deque[str], pump: asyncio.Task[None], guard: Guard
    ) -> None:
        self.pid = pid
        self.ended = ended
        self._tail = tail
        self._pump = pump
        self._guard = guard

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], children: Children) -> EngineProcess:
        """Raises OSError where the program cannot be started."""
        guard = Guard()
        try:
            pid, output = _spawn(command, environment)
        except OSError:
            guard.kill()
            raise
        guard.watch(pid)
        tail: deque[str] = deque(maxlen=_TAIL_LINES)
        return cls(pid, children.watch(pid), tail, asyncio.create_task(_pump(output, tail)), guard)

    @property
    def running(self) -> bool:
        return not self.ended.done()

    def terminate(self) -> None:
        if self.running:
            _send(os.kill, self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started, now."""
        for process in _descendants():
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self.running:
            _send(os.killpg, self.pid, signal.SIGKILL)

    async def close(self) -> list[str]:
        """To be called when it has ended: kill what it left behind; the last lines of its log. May be called again."""
        self.kill()
        self._guard.close()
        await asyncio.wait({self._pump}, timeout=_PIPE_SECONDS)
        self._pump.cancel()  # without effect if it is at its end
        return list(self._tail)


def _spawn(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, int]:
    """Its process id, and the descriptor that its output is read from."""
    reading, writing = os.pipe()
    try:
        popen = subprocess.Popen(  # noqa: S603  the engine, by absolute path
            command,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            env=dict(environment),
            process_group=0,  # a Ctrl-C in the terminal is for us, who drain it first
            preexec_fn=_dies_with_us(),  # noqa: PLW1509  one system call, in a process with one thread
        )
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    popen.returncode = 0  # ``Children`` waits for it; Popen must not
    return popen.pid, reading


def _descendants() -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = psutil.Process().children(recursive=True)
    except psutil.Error:
        return []
    return found


def _send(send: Callable[[int, int], None], pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(pid, number)


def _dies_with_us() -> Callable[[], None] | None:
    """Asks the kernel for a SIGTERM to the engine when this process is gone; the guard insists."""
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except AttributeError:
        return None
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) and None


async def _pump(descriptor: int, tail: deque[str]) -> None:
    """Pass the engine's output on, a log record a line."""
    reader = asyncio.StreamReader(limit=_LINE_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        while line := await _line(reader):
            text = _COLOURS.sub("", line.decode(errors="replace")).rstrip().rpartition("\r")[2]  # progress bars
            if text:
                tail.append(text)
                log.log(_level(text), text)
    finally:
        transport.close()


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line, or as much of it as may be had at once."""
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError:
        return await reader.read(_LINE_BYTES)


def _level(text: str) -> int:
    found = _LEVEL.search(text[:80])
    return logging.getLevelNamesMapping()[found[1]] if found else logging.INFO

"""One supervised child process."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import signal
import time
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headrace.local.guard import Guard
from headrace.local.logs import LogFile
from headrace.local.probe import unready
from headrace.wire.client import Origin


class State(enum.StrEnum):
    STARTING = "starting"
    READY = "ready"
    UNREADY = "not ready"
    """It was ready before."""
    WAITING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """It never came up and is not tried any more."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a child runs, and where it answers."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ops_port: int
    url: str = ""
    """Address of its traffic port."""
    ready_path: str = "/readyz"
    """What its ops port answers with 200 once it is ready."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a child is asked, restarted and given up. All times are seconds."""

    first_delay: float = 0.5
    longest_delay: float = 30.0
    steady: float = 60.0
    """A child that lived this long starts over at ``first_delay``."""
    attempts: int = 3
    """Starts of a child that has never been ready, before it is given up."""
    starting_poll: float = 0.1
    steady_poll: float = 1.0

    def delay(self, failures: int) -> float:
        """The pause after that many failures in a row."""
        return min(self.longest_delay, self.first_delay * 2.0 ** min(failures - 1, 16))


class Child:
    """Runs a program, starts it again when it dies, and knows how it is.

    ``changed`` is called after every change of ``state``, ``reason`` or ``pid``.
    """

    def __init__(
        self,
        program: Program,
        *,
        log: LogFile,
        guard: Guard,
        changed: Callable[[Child], None],
        policy: Policy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.program = program
        self.log = log
        self.state = State.STARTING
        self.reason = ""
        self.pid: int | None = None
        self.was_ready = False
        self.restarts = 0
        self.started = clock()
        self.since = self.started
        """When ``state`` was reached, by ``clock``."""
        self._guard = guard
        self._changed = changed
        self._policy = policy or Policy()
        self._clock = clock
        self._stopping = asyncio.Event()
        self._killing = False
        self._ended = asyncio.Event()
        self._ops = Origin(f"http://127.0.0.1:{program.ops_port}")

    async def run(self) -> None:
        """Keep the program alive until ``stop`` or until it is given up."""
        failures = 0
        try:
            self.log.start()
        except OSError as error:
            self._become(State.FAILED, f"cannot write its log {self.log.path}: {error.strerror}")
            self._ended.set()
            return
        try:
            while not self._stopping.is_set():
                born = self._clock()
                reason = await self._live()
                if self._stopping.is_set():
                    break
                failures = 1 if self._clock() - born > self._policy.steady else failures + 1
                if not self.was_ready and failures >= self._policy.attempts:
                    self._become(State.FAILED, reason)
                    return
                delay = self._policy.delay(failures)
                self._become(State.WAITING, f"{reason}; again in {delay:g} s")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), delay)
                self.restarts += 1
            self._become(State.STOPPED)
        finally:
            self._ops.close()
            self._ended.set()

    async def stop(self, timeout: float) -> bool:
        """Ask the program to drain and end; kill it after ``timeout`` seconds. True if it ended by itself."""
        self._stopping.set()
        if self.pid is not None:
            self._become(State.STOPPING)
            _signal(os.kill, self.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(self._ended.wait(), timeout)
        except TimeoutError:
            self.kill()
            await self._ended.wait()
            return False
        return True

    def kill(self) -> None:
        """End the program and all that it started, now."""
        self._stopping.set()
        self._killing = True
        if self.pid is not None:
            _signal(os.killpg, self.pid, signal.SIGKILL)

    async def _live(self) -> str:
        """One life of the program; the reason of its end."""
        self._become(State.STARTING)
        try:
            process = await self._spawn()
        except OSError as error:
            return f"cannot be started: {error.strerror or error}"
        self._guard.add(process.pid)
        self.pid = process.pid
        watch = asyncio.create_task(self._watch())
        try:
            self._catch_up()
            self._changed(self)
            return _describe(await process.wait())
        finally:
            watch.cancel()
            self.pid = None
            _signal(os.killpg, process.pid, signal.SIGKILL)  # what it left behind
            await process.wait()
            self._guard.remove(process.pid)

    def _catch_up(self) -> None:
        """``stop`` or ``kill`` may have come while there was no process to tell."""
        if self._killing:
            self.kill()
        elif self._stopping.is_set() and self.pid is not None:
            _signal(os.kill, self.pid, signal.SIGTERM)

    async def _spawn(self) -> Process:
        log = self.log.open()
        try:
            return await asyncio.create_subprocess_exec(
                *self.program.command,
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                env=dict(self.program.environment),
                start_new_session=True,  # a Ctrl-C in the terminal is for us, not for them
            )
        finally:
            os.close(log)

    async def _watch(self) -> None:
        while True:
            reason = await unready(self._ops, self.program.ready_path)
            if not self._stopping.is_set():
                self._judge(reason)
            self.log.trim()
            steady = self.state is State.READY
            await asyncio.sleep(self._policy.steady_poll if steady else self._policy.starting_poll)

    def _judge(self, reason: str | None) -> None:
        if reason is None:
            self.was_ready = True
            self._become(State.READY)
        elif self.state in (State.READY, State.UNREADY):
            self._become(State.UNREADY, reason)
        else:
            self._become(State.STARTING, reason)

    def _become(self, state: State, reason: str = "") -> None:
        if (state, reason) == (self.state, self.reason):
            return
        if state is not self.state:
            self.since = self._clock()
        self.state, self.reason = state, reason
        self._changed(self)


def _signal(send: Callable[[int, int], None], pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(pid, number)


def _describe(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    if -code == signal.SIGKILL:
        return "was killed (signal 9); if nobody did that on purpose, memory is short"
    with contextlib.suppress(ValueError):
        return f"died by {signal.Signals(-code).name}"
    return f"died by signal {-code}"

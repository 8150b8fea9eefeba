"""Processes that the benchmark starts, watches and always ends."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from headrace.errors import HeadraceError

_READY_TIMEOUT = 60.0
_STOP_TIMEOUT = 15.0
_POLL = 0.05
_LOG_TAIL = 2000


class BenchmarkError(HeadraceError):
    """The figures cannot be had, or cannot be trusted. The message is complete: it can be printed as it is."""


@dataclass(frozen=True, slots=True)
class Running:
    """One process; its output goes to ``log``."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raises BenchmarkError with the end of the log if the process has ended."""
        status = self.process.poll()
        if status is not None:
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:].strip()
            raise BenchmarkError(f"{self.name} ended with status {status}:\n{tail or '(it printed nothing)'}")


class Processes:
    """Started in order; on exit ended in the opposite order, each with its own children."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[Running] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running in reversed(self._running):
            _stop(running.process)

    def start(self, name: str, argv: list[str], env: Mapping[str, str] | None = None) -> Running:
        """Raises BenchmarkError where there is no such program."""
        log = self.folder / f"{name}.log"
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=env,
                    start_new_session=True,  # a Ctrl-C is for us, who then end these in order
                )
        except OSError as error:
            raise BenchmarkError(f"{name} cannot be started: {error}") from None
        running = Running(name, process, log)
        self._running.append(running)
        return running

    def check(self) -> None:
        for running in self._running:
            running.check()

    @contextlib.contextmanager
    def logs_kept(self, folder: Path) -> Iterator[None]:
        """What the processes printed is in ``folder`` if the block raises a BenchmarkError, and the error says so."""
        try:
            yield
        except BenchmarkError as error:
            folder.mkdir(parents=True, exist_ok=True)
            for running in self._running:
                shutil.copy(running.log, folder)
            raise BenchmarkError(f"{error}\nThe logs are in {folder}.") from None


def wait_ready(running: Running, port: int, path: str, timeout: float = _READY_TIMEOUT) -> None:
    """Until ``GET path`` answers 200. Raises BenchmarkError with the last answer."""
    deadline = time.monotonic() + timeout
    answer = "nobody listens"
    while time.monotonic() < deadline:
        running.check()
        status, answer = _get(port, path) or (0, answer)
        if status == 200:
            return
        time.sleep(_POLL)
    raise BenchmarkError(f"{running.name} was not ready after {timeout:g} s; GET {path} last said: {answer}")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def _get(port: int, path: str) -> tuple[int, str] | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, f"{response.status} {response.read(200).decode(errors='replace')}"
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_TIMEOUT)
    with contextlib.suppress(ProcessLookupError):  # what is left of its own session: nobody else's processes are in it
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

"""The test service as a process that is started, asked, told to end, and always ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.service import app

PATIENCE = 30.0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Program:
    """``app.py``, running in a process group of its own, as a shell starts it."""

    def __init__(self, mode: str, folder: Path, environment: dict[str, str], *, pass_fds: tuple[int, ...] = ()) -> None:
        self.folder = folder
        self.port, self.ops_port = free_port(), free_port()
        ports = {"TEST_PORT": str(self.port), "TEST_OPS_PORT": str(self.ops_port)}
        self.log = folder / "log"
        self.slow: list[http.client.HTTPConnection] = []
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, app.__file__, mode, str(folder)],
                env={**os.environ, **ports, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                pass_fds=pass_fds,
            )

    def get(self, path: str, *, ops: bool = False, method: str = "GET") -> tuple[int, str]:
        """Status and body; (0, …) where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ops_port if ops else self.port, timeout=PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def ready(self) -> Program:
        wait_for(lambda: self.get("/readyz", ops=True)[0] == 200, "ready")
        return self

    def pids(self) -> set[int]:
        """Those that answer, of many connections."""
        return {int(body) for status, body in (self.get("/pid") for _ in range(40)) if status == 200}

    def metric(self, name: str) -> float:
        """Its value; 0 where there is none."""
        pages: list[str] = []

        def told() -> bool:
            status, page = self.get("/metrics", ops=True)
            pages.append(page)
            return status == 200

        wait_for(told, "the metrics")
        found = re.search(rf"^{name} (\S+)$", pages[-1], re.MULTILINE)
        return float(found[1]) if found else 0.0

    def tell(self, name: str) -> None:
        """Make the file that the service looks for."""
        (self.folder / name).touch()

    def told(self, name: str) -> bool:
        return (self.folder / name).exists()

    def begin_slow(self) -> http.client.HTTPConnection:
        """A request that runs until ``go`` is there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.slow.append(connection)
        connection.request("GET", "/slow")
        wait_for(lambda: self.told("busy"), "the request runs")
        return connection

    def refuses(self) -> bool:
        """Whether nobody listens on the traffic port."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        return False

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start ``one`` process or the parent of ``many``."""
    running: list[Program] = []

    def begin(mode: str, *, pass_fds: tuple[int, ...] = (), **environment: str) -> Program:
        running.append(Program(mode, tmp_path, environment, pass_fds=pass_fds))
        return running[-1]

    yield begin
    for program in running:
        program.tell("go")
        for connection in program.slow:
            connection.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if program.process.poll() is None:
                program.process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.process.wait(5)

"""Several processes behind one traffic port.

The parent binds the port once for each child (``SO_REUSEPORT``: the kernel spreads new connections) and keeps the
sockets, so that a child that dies is replaced without a refused connection. It alone has the ops port: it merges its
children's metrics, is ready when all of them are, and passes the drain on. It talks to each child over a Unix socket
on which the child serves an ops port of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop

from headrace.errors import WireError
from headrace.service.ops import ops_routes
from headrace.service.secret import HopSecret
from headrace.service.sockets import listen
from headrace.telemetry.metrics import FamilySnapshot, merge, render
from headrace.wire.client import Origin, fetch
from headrace.wire.server import Server

log = logging.getLogger(__name__)

_CHILD = "HEADRACE_CHILD"
_RESTART_SECONDS = 1.0
_CHILD_TIMEOUT = 5.0


@dataclass(frozen=True)
class FleetChild:
    """What a child of a fleet was given by its parent."""

    traffic: socket.socket
    ops: socket.socket
    parent: int


def child_of_fleet() -> FleetChild | None:
    """The sockets that this process inherited, if it is a child of a ``Fleet``."""
    numbers = os.environ.get(_CHILD, "")
    if not numbers:
        return None
    traffic, ops, parent = (int(number) for number in numbers.split(","))
    return FleetChild(socket.socket(fileno=traffic), socket.socket(fileno=ops), parent)


class _Child:
    """One process, its sockets, and the way to ask it."""

    def __init__(self, traffic: socket.socket, folder: Path, index: int) -> None:
        path = str(folder / f"{index}.sock")
        self.origin = Origin("http://child", unix_path=path)
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self._traffic = traffic
        self._ops = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ops.bind(path)
        self._ops.setblocking(False)

    def spawn(self, alive: int) -> None:
        descriptors = (self._traffic.fileno(), self._ops.fileno(), alive)
        environment = {**os.environ, _CHILD: ",".join(map(str, descriptors))}
        self.started = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603  our own command line, once more
            [sys.executable, "-m", "headrace", *sys.argv[1:]], env=environment, pass_fds=descriptors
        )

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


class Fleet:
    """The parent of ``count`` processes that serve the same port. An ``OpsView``."""

    def __init__(self, host: str, port: int, name: str, count: int, secret: HopSecret, drain_timeout: float) -> None:
        self._host, self._port, self._name, self._count = host, port, name, count
        self._secret = secret
        self._drain_timeout = drain_timeout
        self._children: list[_Child] = []
        self._restarts = 0
        self._stopping = asyncio.Event()
        self._signals = 0

    def run(self, ops: socket.socket, parent: int | None) -> None:
        """Serve until SIGTERM, SIGINT, ``POST /drain`` or the end of our own parent."""
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            port = self._port
            for index in range(self._count):
                traffic = listen(self._host, port, self._name, shared=True)
                port = traffic.getsockname()[1]
                self._children.append(_Child(traffic, Path(folder), index))
            uvloop.run(self._main(ops, parent))

    async def unready(self) -> str | None:
        if self._stopping.is_set():
            return "draining"
        for child in self._children:
            try:
                answer = await fetch(child.origin, "GET", "/readyz", timeout=_CHILD_TIMEOUT)
            except WireError as error:
                return f"a process does not answer: {error}"
            if answer.status != 200:
                return answer.body.decode().strip()
        return None

    async def metrics(self) -> bytes:
        snapshots = []
        for child in self._children:
            document = await self._ask(child, "/debug/metrics")
            if document is not None:
                snapshots.append(msgspec.json.decode(document, type=list[FamilySnapshot]))
        return render(merge(snapshots))

    async def load(self) -> bytes | None:
        return None

    async def debug(self, path: str) -> bytes | None:
        """Every process's page, in a list."""
        pages = [await self._ask(child, f"/debug/{path}") for child in self._children]
        found = [msgspec.Raw(page) for page in pages if page is not None]
        return msgspec.json.encode(found) if found else None

    async def _ask(self, child: _Child, path: str) -> bytes | None:
        try:
            answer = await fetch(child.origin, "GET", path, timeout=_CHILD_TIMEOUT)
        except WireError as error:
            log.warning("a process does not answer", extra={"error": str(error)})
            return None
        return answer.body if answer.status == 200 else None

    async def _main(self, ops: socket.socket, parent: int | None) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        if parent is not None:
            loop.add_reader(parent, self._parent_gone, parent)
        alive, held = os.pipe()  # the write end is only ours: when we die, the children read the end of the file
        server = Server(ops_routes(self, self._secret, self._stopping.set))
        await server.start(ops)
        try:
            await self._keep_running(alive)
            await self._stop_children()
        finally:
            os.close(held)
            await server.close()

    async def _keep_running(self, alive: int) -> None:
        for child in self._children:
            child.spawn(alive)
        while not self._stopping.is_set():
            for child in self._children:
                code = child.process.poll() if child.process is not None else None
                if code is not None and time.monotonic() - child.started > _RESTART_SECONDS:
                    log.error("a process died; starting another", extra={"exit_code": code})
                    self._restarts += 1
                    child.spawn(alive)
            try:
                await asyncio.wait_for(self._stopping.wait(), 0.2)
            except TimeoutError:
                continue

    async def _stop_children(self) -> None:
        for child in self._children:
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + self._drain_timeout + _CHILD_TIMEOUT
        while time.monotonic() < deadline and any(
            child.process is not None and child.process.poll() is None for child in self._children
        ):
            await asyncio.sleep(0.05)
        for child in self._children:
            child.send(signal.SIGKILL)

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals > 1:
            for child in self._children:
                child.send(signal.SIGKILL)
        self._stopping.set()

    def _parent_gone(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        self._stopping.set()

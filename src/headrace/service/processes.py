"""Several processes behind one traffic port.

The parent binds the port once for each child (``SO_REUSEPORT``: the kernel spreads new connections) and keeps the
sockets, so that a child that dies is replaced without a refused connection; it lets go of them when a drain begins. It
alone has the ops port: it merges its children's metrics, is ready when all of them are, and passes the drain on. It
talks to each child over a Unix socket on which the child serves an ops port of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from headrace.errors import ConfigError, HeadraceError
from headrace.service.child import Child
from headrace.service.ops import ops_routes
from headrace.service.secret import HopSecret
from headrace.service.sockets import listen
from headrace.telemetry.exposition import Page, render
from headrace.telemetry.snapshot import merge
from headrace.wire.server import Server

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_RESTART_SECONDS = 1.0
"""A process that lived for less waits so long for its successor."""
_GRACE_SECONDS = 5.0


class Fleet:
    """The parent of ``count`` processes that serve the same port. An ``OpsView``."""

    def __init__(
        self,
        host: str,
        port: int,
        name: str,
        count: int,
        secret: HopSecret,
        drain_timeout: float,
        command: Sequence[str] = (),
    ) -> None:
        """``command``: what each process runs; our own command line, if empty."""
        self._host, self._port, self._name, self._count = host, port, name, count
        self._secret = secret
        self._drain_timeout = drain_timeout
        self._command = command or (sys.executable, "-m", "headrace", *sys.argv[1:])
        self._children: list[Child] = []
        self._stopping = asyncio.Event()
        self._signals = 0
        self._failure: HeadraceError | None = None

    def run(self, ops: socket.socket, parent: int | None) -> None:
        """Serve until SIGTERM, SIGINT, ``POST /drain`` or the end of our own parent.

        Raises ConfigError where the processes end because of their settings: the same ones would end the next.
        """
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            port = self._port
            for index in range(self._count):
                traffic = listen(self._host, port, self._name, shared=True)
                port = traffic.getsockname()[1]
                self._children.append(Child(self._command, traffic, Path(folder) / f"{index}.sock"))
            uvloop.run(self._main(ops, parent))
        if self._failure is not None:
            raise self._failure

    async def unready(self) -> str | None:
        if self._stopping.is_set():
            return "draining"
        reasons = await asyncio.gather(*(child.unready() for child in self._children))
        return next((reason for reason in reasons if reason is not None), None)

    async def metrics(self, accept: str) -> Page:
        return render(merge(await asyncio.gather(*(child.metrics() for child in self._children))), accept)

    async def load(self) -> bytes | None:
        return None

    async def debug(self, path: str) -> bytes | None:
        """Every process's page, in a list."""
        pages = await asyncio.gather(*(child.ask(f"/debug/{path}") for child in self._children))
        found = [msgspec.Raw(page) for page in pages if page is not None]
        return msgspec.json.encode(found) if found else None

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
            os.close(alive)
            await server.close()
            for child in self._children:
                child.close()

    async def _keep_running(self, alive: int) -> None:
        for child in self._children:
            child.spawn(alive)
        while not self._stopping.is_set():
            for child in self._children:
                self._replace(child, alive)
            try:
                await asyncio.wait_for(self._stopping.wait(), _LOOK_SECONDS)
            except TimeoutError:
                continue

    def _replace(self, child: Child, alive: int) -> None:
        """Start another process in the place of one that died."""
        code = child.ended()
        if code is None or time.monotonic() - child.started < _RESTART_SECONDS:
            return
        if code == ConfigError.exit_code:
            self._failure = ConfigError("the processes cannot run with these settings: see their messages above")
            self._stopping.set()
            return
        log.error("a process died; starting another", extra={"exit_code": code})
        child.spawn(alive)

    async def _stop_children(self) -> None:
        """Drain them. Our own hold on their sockets ends first: else the system went on to accept connections there."""
        for child in self._children:
            child.traffic.close()
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + self._drain_timeout + _GRACE_SECONDS
        while time.monotonic() < deadline and any(child.ended() is None for child in self._children):
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

"""Runs one service in one process: ports, signals, the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable

import msgspec
import uvloop

from headrace.service.ops import ops_routes
from headrace.service.secret import HopSecret
from headrace.service.service import Service
from headrace.telemetry.exposition import Page, render
from headrace.wire.server import Server

log = logging.getLogger(__name__)

_GC_THRESHOLD = (50_000, 20, 50)
"""A request makes no cycles: looking for them every 700 objects is a tenth of its cost."""
_ENDPOINT_GRACE = 0.2
"""Seconds between "not ready" and "not accepting", so that whoever just looked us up still gets in."""


class ServiceView:
    """The state of the one service in this process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.reason: str | None = "starting"
        """Why the process as a whole takes nothing; None while it does."""

    async def unready(self) -> str | None:
        return self.reason or self._service.unready()

    async def metrics(self, accept: str) -> Page:
        return render(self._service.registry.snapshot(), accept)

    async def load(self) -> bytes | None:
        return self._service.load()

    async def debug(self, path: str) -> bytes | None:
        if path == "metrics":  # as data, for a parent that merges them
            return msgspec.json.encode(self._service.registry.snapshot())
        return self._service.debug(path)


class Process:
    """One service with its two ports, from start to drain."""

    def __init__(self, service: Service, secret: HopSecret, drain_timeout: float) -> None:
        self._service = service
        self._secret = secret
        self._drain_timeout = drain_timeout
        self._stop = asyncio.Event()
        self._signals = 0

    async def run(self, traffic: socket.socket, ops: socket.socket, parent: int | None = None) -> None:
        """Serve until SIGTERM, SIGINT, ``POST /drain`` or the end of the parent process."""
        service, view = self._service, ServiceView(self._service)
        self._watch_signals()
        if parent is not None:
            asyncio.get_running_loop().add_reader(parent, self._parent_gone, parent)
        ops_server = Server(ops_routes(view, self._secret, self._stop.set))
        await ops_server.start(ops)
        server = Server(service.routes, service.limits)
        try:
            if await self._start():
                await server.start(traffic)
                gc.freeze()  # what start-up made stays: the collector need not look at it again
                gc.set_threshold(*_GC_THRESHOLD)
                view.reason = None
                log.info("serving", extra={"port": traffic.getsockname()[1], "ops_port": ops.getsockname()[1]})
                await self._stop.wait()
            view.reason = "draining"
            await self._end(server)
        finally:
            await server.close()
            await service.close()
            await ops_server.close()

    async def _start(self) -> bool:
        """Start the service; False if the end was asked for before it was there."""
        starting = asyncio.ensure_future(self._service.start())
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if starting.done():
            await starting
            return not self._stop.is_set()
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return False

    async def _end(self, server: Server) -> None:
        log.info("draining", extra={"active": server.active})
        await self._service.drain()
        await asyncio.sleep(_ENDPOINT_GRACE)
        if not await server.drain(self._drain_timeout):
            log.warning("requests were cut at the end of the drain", extra={"active": server.active})
        log.info("stopped")

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals > 1:
            os._exit(130)
        self._stop.set()

    def _parent_gone(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        log.warning("the parent process is gone")
        self._stop.set()


def run_process(
    build: Callable[[], Service],
    secret: HopSecret,
    drain_timeout: float,
    traffic: socket.socket,
    ops: socket.socket,
    parent: int | None = None,
) -> None:
    """Build the service and run it on an event loop of its own until it ends."""

    async def main() -> None:
        await Process(build(), secret, drain_timeout).run(traffic, ops, parent)

    uvloop.run(main())

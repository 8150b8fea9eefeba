"""The HTTP/1.1 server: the listening socket, all its connections, the graceful end."""

from __future__ import annotations

import asyncio
import socket
import time
from email.utils import formatdate

from headrace.wire.connection import ServerConnection
from headrace.wire.limits import ServerLimits
from headrace.wire.outbox import Outbox
from headrace.wire.reader import Unfinished
from headrace.wire.routes import Routes

_SWEEP_INTERVAL = 1.0
_BACKLOG = 4096
_LAST_CALL_SECONDS = 0.2
_CLEAN_UP_SECONDS = 5.0
"""What handlers get to clean up in after their clients were cut."""


class Server:
    """Serves ``routes`` on a listening socket until ``drain``."""

    def __init__(self, routes: Routes, limits: ServerLimits | None = None) -> None:
        self.routes = routes
        self.limits = limits or ServerLimits()
        self.date_line = b""
        self.draining = False
        self.connections: set[ServerConnection] = set()
        self.unfinished = Unfinished()
        self.outbox = Outbox()
        """Of all its connections."""
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()

    @property
    def active(self) -> int:
        """Requests that are being answered."""
        return sum(connection.exchange is not None for connection in self.connections)

    async def start(self, listener: socket.socket) -> None:
        """Raises OSError if another program listens there."""
        loop = asyncio.get_running_loop()
        self._tick()
        listener.listen(_BACKLOG)  # uvloop does it too, but is silent where it fails
        self._listener = await loop.create_server(lambda: ServerConnection(self, loop), sock=listener, backlog=_BACKLOG)
        self._sweeper = loop.create_task(self._sweep())

    async def drain(self, timeout: float) -> bool:
        """Stop accepting, finish what runs. True if everything finished within ``timeout`` seconds.

        Idle connections get a moment in which they may send one more request, which is then the last one: a client that
        sends it while we close could not know whether it was served.
        """
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        if self.connections:
            await asyncio.sleep(_LAST_CALL_SECONDS)
        for connection in list(self.connections):
            connection.end_if_idle()
        self._check_idle()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Cut what is left, and wait until its handlers have cleaned up."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        tasks = [connection.task for connection in self.connections if connection.task is not None]
        for connection in list(self.connections):
            connection.cut()
        await asyncio.sleep(0)  # connections hear of their end in the next turn of the loop
        if tasks:
            await asyncio.wait(tasks, timeout=_CLEAN_UP_SECONDS)

    def opened(self, connection: ServerConnection) -> int:
        """Count a new connection in; how many there are now."""
        self.connections.add(connection)
        return len(self.connections)

    def closed(self, connection: ServerConnection) -> None:
        self.connections.discard(connection)
        self._check_idle()

    def _check_idle(self) -> None:
        if self.draining and not self.connections:
            self._idle.set()

    def _tick(self) -> None:
        self.date_line = b"date: %b\r\n" % formatdate(usegmt=True).encode()

    async def _sweep(self) -> None:
        """One timer for all connections: a timer each would cost more than the request."""
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL)
            self._tick()
            now = time.monotonic()
            for connection in list(self.connections):
                connection.check(now)

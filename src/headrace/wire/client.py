"""The upstream side: an origin with its kept-alive connections, and single calls to it."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from urllib.parse import urlsplit

from headrace.errors import ConfigError, ConnectError, ConnectionLost, ProtocolError, UpstreamTimeout, WireError
from headrace.wire.limits import ClientLimits
from headrace.wire.outbox import Outbox
from headrace.wire.response import Answer, FieldLines, ResponseHead
from headrace.wire.upstream import Connection


class Origin:
    """A server that requests go to, and the connections that are open to it."""

    def __init__(self, url: str, limits: ClientLimits | None = None, *, unix_path: str | None = None) -> None:
        self.limits = limits or ClientLimits()
        self.host, self.port, netloc = _split(url)
        self.name = f"{self.host}:{self.port}" if unix_path is None else unix_path
        self.host_line = b"host: %b\r\n" % netloc.encode()
        self.lines = FieldLines()
        self.outbox = Outbox()
        """Of all connections to it."""
        self._unix_path = unix_path
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._closed = False

    @property
    def open(self) -> int:
        """Connections, idle ones included."""
        return len(self._all)

    @property
    def busy(self) -> int:
        """Connections that carry a request."""
        return len(self._all) - len(self._idle)

    def take(self) -> Connection | None:
        """An idle connection, the one used last first; None if there is none."""
        return self._idle.pop() if self._idle else None

    async def connect(self) -> Connection:
        """A fresh connection. Raises ConnectError or UpstreamTimeout."""
        loop = asyncio.get_running_loop()
        age = self.limits.max_age * random.uniform(0.75, 1.0)  # noqa: S311  jitter, not a secret
        expires = time.monotonic() + age

        connection = Connection(self, expires)
        made = False

        def make() -> Connection:
            return connection

        try:
            async with asyncio.timeout(self.limits.connect_timeout):
                if self._unix_path is not None:
                    await loop.create_unix_connection(make, self._unix_path)
                else:
                    await loop.create_connection(make, self.host, self.port)
                made = True
        except TimeoutError:
            raise UpstreamTimeout(f"{self.name} did not accept a connection in time") from None
        except socket.gaierror as error:
            raise ConnectError(f"{self.name} does not resolve: {error.strerror}") from None
        except OSError as error:
            raise ConnectError(f"{self.name} cannot be reached: {error.strerror or error}") from None
        finally:
            if not made and connection in self._all:  # cancelled in the moment in which it was there
                connection.abort()
                self.closed(connection)  # uvloop does not tell a connection of its end then
        return connection

    async def acquire(self) -> Connection:
        """An idle connection, or else a fresh one."""
        return self.take() or await self.connect()

    def opened(self, connection: Connection) -> None:
        self._all.add(connection)
        if self._closed:
            connection.abort()

    def give_back(self, connection: Connection) -> None:
        connection.idle_since = 0.0
        connection.reused = True
        if self._closed or connection.outworn or len(self._idle) >= self.limits.idle:
            connection.abort()
        else:
            self._idle.append(connection)

    def closed(self, connection: Connection) -> None:
        self._all.discard(connection)
        self.retire(connection)

    def retire(self, connection: Connection) -> None:
        """It is not to be taken any more."""
        if connection in self._idle:
            self._idle.remove(connection)

    def close_idle(self, now: float) -> None:
        """Drop the connections that may not be reused any more. Call it each second: nobody else looks at the clock."""
        for connection in self._all:
            connection.age(now)
        for connection in [connection for connection in self._idle if connection.outworn]:
            self._idle.remove(connection)
            connection.abort()

    def close(self) -> None:
        """Drop all connections; who waits for an answer gets a ConnectionLost."""
        self._closed = True
        self._idle.clear()
        for connection in list(self._all):
            connection.fail(ConnectionLost(f"the connections to {self.name} were closed"))


def _split(url: str) -> tuple[str, int, str]:
    """Host, port and both as they stand in ``url``. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        port = 80 if parts.port is None else parts.port
    except ValueError:
        raise ConfigError(f"{url}: an upstream's address looks like http://host:port") from None
    host = parts.hostname
    if (
        parts.scheme != "http"
        or not host
        or not _is_host(host)
        or "@" in parts.netloc
        or parts.path.strip("/")
        or parts.query
    ):
        raise ConfigError(f"{url}: an upstream's address looks like http://host:port")
    return host, port, parts.netloc


def _is_host(name: str) -> bool:
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return not any(character.isspace() for character in name)


class _Collector:
    """A sink that keeps the whole answer, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._limit = limit
        self._head: ResponseHead | None = None
        self._pieces: list[bytes] = []
        self._size = 0

    def on_head(self, head: ResponseHead) -> None:
        self._head = head

    def on_data(self, payload: bytes, framed: bytes | None) -> None:
        self._size += len(payload)
        if self._size <= self._limit:
            self._pieces.append(payload)
        else:
            self.on_lost(ProtocolError(f"the answer is larger than {self._limit} bytes"))

    def on_end(self) -> None:
        if not self.done.done() and self._head is not None:
            self.done.set_result(Answer(self._head, self._head.status, b"".join(self._pieces)))

    def on_answer(self, answer: Answer) -> None:
        self.on_head(answer.head)
        self.on_data(answer.body, None)
        self.on_end()

    def on_lost(self, error: WireError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


async def fetch(
    origin: Origin,
    method: str,
    path: str,
    *,
    headers: list[tuple[bytes, bytes]] | None = None,
    body: bytes = b"",
    timeout: float = 5.0,
    limit: int = 16 * 1024 * 1024,
) -> Answer:
    """One request, its whole answer. Raises WireError.

    Where a kept connection turns out to have been closed meanwhile, the request is sent once more: use it for what may
    be asked twice.
    """
    lines = b"".join(b"%b: %b\r\n" % pair for pair in headers or [])
    head = b"%b %b HTTP/1.1\r\n%b%b" % (method.encode(), path.encode(), origin.host_line, lines)
    data = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
    try:
        async with asyncio.timeout(timeout):
            try:
                return await _ask(await origin.acquire(), data, limit)
            except ConnectionLost as lost:
                if not lost.stale:
                    raise
            return await _ask(await origin.connect(), data, limit)
    except TimeoutError:
        raise UpstreamTimeout(f"{origin.name} did not answer {path} within {timeout:g} s") from None


async def _ask(connection: Connection, data: bytes, limit: int) -> Answer:
    collector = _Collector(limit)
    complete = False
    try:
        connection.send(data, collector)
        answer = await collector.done
        complete = True
        return answer
    finally:
        if not complete:
            connection.abort()
            if not collector.done.cancel() and not collector.done.cancelled():
                collector.done.exception()  # seen, also where a cancellation came at the same moment

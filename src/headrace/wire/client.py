"""The upstream side: kept-alive connections to one origin, one request at a time on each."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from typing import Protocol, cast
from urllib.parse import urlsplit

from headrace.errors import ConfigError, ConnectError, ConnectionLost, ProtocolError, UpstreamTimeout, WireError
from headrace.wire.limits import ClientLimits
from headrace.wire.response import ChunkedDecoder, ResponseHead


class Sink(Protocol):
    """Takes an answer as it arrives. The methods must not block, and never raise."""

    def on_head(self, head: ResponseHead) -> None: ...

    def on_data(self, payload: bytes, framed: bytes | None) -> None:
        """A piece of the body; ``framed`` is the same as exactly one HTTP chunk, where it arrived so."""

    def on_end(self) -> None: ...

    def on_lost(self, error: WireError) -> None:
        """The answer will not be complete."""


class Connection(asyncio.Protocol):
    """One connection to an origin."""

    __slots__ = (
        "_buffer",
        "_chunked",
        "_expires",
        "_head",
        "_left",
        "_loop",
        "_origin",
        "_paused",
        "_sink",
        "_transport",
        "idle_since",
        "outworn",
        "reused",
    )

    def __init__(self, origin: Origin, expires: float) -> None:
        self.idle_since = 0.0
        self.outworn = False
        self.reused = False
        self._origin = origin
        self._expires = expires
        self._transport: asyncio.Transport
        self._sink: Sink | None = None
        self._head: ResponseHead | None = None
        self._chunked: ChunkedDecoder | None = None
        self._buffer = b""
        self._left = 0
        self._paused = False

    def send(self, data: bytes, sink: Sink) -> None:
        """Send one whole request; the answer goes to ``sink``. Raises ConnectionLost."""
        if self._transport.is_closing():
            raise self._lost(stale=True)
        self._sink = sink
        self._head = None
        self._chunked = None
        self._transport.write(data)

    def pause(self) -> None:
        """Stop reading: the one who is to take the answer cannot keep up."""
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection: the peer sees it and stops working for us."""
        self._sink = None
        self._transport.abort()

    def fail(self, error: WireError) -> None:
        """Drop the connection, and tell the one who waits for an answer."""
        sink = self._sink
        self.abort()
        if sink is not None:
            sink.on_lost(error)

    @property
    def usable(self) -> bool:
        return not self._transport.is_closing()

    def age(self, now: float) -> None:
        """Find out whether the connection is too old, or idle for too long, to be used again."""
        self.idle_since = self.idle_since or now
        idle = self._sink is None and now - self.idle_since > self._origin.limits.keep_alive
        self.outworn = idle or now > self._expires

    # ---- asyncio.Protocol ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._origin.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._origin.closed(self)
        sink, self._sink = self._sink, None
        if sink is None:
            return
        head = self._head
        if head is not None and head.length is None and self._chunked is None and exc is None:
            sink.on_end()  # neither length nor chunks: the end of the connection is the end of the body
        else:
            sink.on_lost(self._lost(stale=self.reused and head is None and not self._buffer))

    def _lost(self, stale: bool) -> ConnectionLost:
        return ConnectionLost(f"{self._origin.name} closed the connection before its answer was complete", stale=stale)

    def data_received(self, data: bytes) -> None:
        sink = self._sink
        if sink is None:  # nothing was asked: whatever this is, it is not an answer
            self._transport.abort()
            return
        chunked = self._chunked
        if chunked is not None:
            # The usual case of a stream: one read is one chunk. It is passed on as it is, without being taken apart.
            if chunked.at_border and data[-2:] == b"\r\n":
                line = data.find(b"\r\n", 0, 18)
                if line > 0 and _is_hex(data[:line]) and int(data[:line], 16) == len(data) - line - 4 > 0:
                    sink.on_data(data[line + 2 : -2], data)
                    return
            self._guarded(data)
        elif self._head is not None:
            self._body(data, sink)
        else:
            self._guarded(data)

    def _guarded(self, data: bytes) -> None:
        sink = self._sink
        assert sink is not None
        try:
            if self._chunked is not None:
                self._chunk(data, self._chunked, sink)
            else:
                self._read_head(data, sink)
        except ProtocolError as error:
            self.fail(error)

    def _read_head(self, data: bytes, sink: Sink) -> None:
        data = self._buffer + data if self._buffer else data
        self._buffer = b""
        status = 100
        while status < 200:  # what comes before the answer proper is of no use to us
            end = data.find(b"\r\n\r\n")
            if max(end, len(data) if end < 0 else 0) > self._origin.limits.head:
                raise ProtocolError(f"{self._origin.name} sent a head that is too large")
            if end < 0:
                self._buffer = data
                return
            head = ResponseHead(data[:end])
            status, data = head.status, data[end + 4 :]
            if status < 100 or status == 101:
                raise ProtocolError(f"{self._origin.name} answered with status {status}")
        self._begin(head, data, sink)

    def _begin(self, head: ResponseHead, rest: bytes, sink: Sink) -> None:
        self._head = head
        self._left = head.length or 0
        if head.chunked:
            self._chunked = ChunkedDecoder()
        sink.on_head(head)
        if self._sink is None:
            return
        if head.length == 0:
            self._end(sink, excess=bool(rest))
        elif rest and self._chunked is not None:
            self._chunk(rest, self._chunked, sink)
        elif rest:
            self._body(rest, sink)

    def _body(self, data: bytes, sink: Sink) -> None:
        head = self._head
        if head is None or head.length is None:
            sink.on_data(data, None)
            return
        if len(data) > self._left:
            self.fail(ProtocolError(f"{self._origin.name} sent more than its Content-Length"))
            return
        self._left -= len(data)
        sink.on_data(data, None)
        if self._left == 0 and self._sink is not None:
            self._end(sink)

    def _chunk(self, data: bytes, decoder: ChunkedDecoder, sink: Sink) -> None:
        payload = decoder.feed(data)
        if payload:
            sink.on_data(payload, None)
        if decoder.done and self._sink is not None:
            self._end(sink, excess=decoder.excess)

    def _end(self, sink: Sink, *, excess: bool = False) -> None:
        """The answer is complete. ``excess``: more came with it, which is nobody's answer."""
        assert self._head is not None
        self._sink = None
        self._chunked = None
        if self._head.keep_alive and not excess:
            self.resume()
            self._origin.give_back(self)
        else:
            self._transport.close()
        sink.on_end()


class Origin:
    """A server that requests go to, and the connections that are open to it."""

    def __init__(self, url: str, limits: ClientLimits | None = None, *, unix_path: str | None = None) -> None:
        self.limits = limits or ClientLimits()
        self.host, self.port, netloc = _split(url)
        self.name = f"{self.host}:{self.port}" if unix_path is None else unix_path
        self.host_line = b"host: %b\r\n" % netloc.encode()
        self._unix_path = unix_path
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._closed = False

    def take(self) -> Connection | None:
        """An idle connection, the one used last first; None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

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


def _is_hex(digits: bytes) -> bool:
    return digits.isalnum() and not digits.strip(b"0123456789abcdefABCDEF")


class Answer:
    """A whole answer that was not passed on: for polls, probes and small calls."""

    __slots__ = ("body", "head", "status")

    def __init__(self, head: ResponseHead, body: bytes) -> None:
        self.head = head
        self.status = head.status
        self.body = body


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
            self.done.set_result(Answer(self._head, b"".join(self._pieces)))

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

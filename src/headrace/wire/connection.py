"""One client connection of the server: reading requests within bounds, answering them in order.

Requests are parsed by httptools (llhttp, strict); what llhttp does not bound (heads, times, pipelined requests) is
bounded here. Bodies are buffered up to a limit before the handler runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from headrace.errors import (
    ApiError,
    HeadTooLarge,
    InternalError,
    InvalidRequest,
    Overloaded,
    RequestTimeout,
    TooLarge,
)
from headrace.wire.exchange import Exchange
from headrace.wire.message import Request

if TYPE_CHECKING:
    from headrace.wire.routes import Handler
    from headrace.wire.server import Server

log = logging.getLogger(__name__)

_LINGER_BYTES = 1024 * 1024
"""What a refused client may still send before the connection is cut, so that it gets to read why."""


class ServerConnection(asyncio.Protocol):
    """One client connection: requests are answered one after another, in order."""

    __slots__ = (
        "_answered",
        "_body",
        "_body_bytes",
        "_deadline",
        "_error",
        "_head_bytes",
        "_headers",
        "_lingering",
        "_loop",
        "_parser",
        "_peer",
        "_pending",
        "_queue",
        "_reading_head",
        "_received",
        "_server",
        "_stalled_bytes",
        "_stalled_since",
        "_target",
        "_task",
        "_transport",
        "_waiters",
        "exchange",
        "http11",
        "keep_alive",
        "writable",
    )

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.exchange: Exchange | None = None
        self.writable = True
        self.keep_alive = True
        self.http11 = True
        self._server = server
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._peer = ""
        self._task: asyncio.Task[None] | None = None
        self._queue: deque[tuple[Request, bool, bool]] = deque()
        self._pending = bytearray()
        self._waiters: list[asyncio.Future[None]] = []
        self._error: ApiError | None = None
        self._lingering = 0
        self._reading_head = True
        self._head_bytes = 0
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._received = 0.0
        self._answered = False
        self._deadline = 0.0
        """When we lose patience; 0 until the server's next look, which sets it: reading the clock is not free."""
        self._stalled_bytes = 0
        self._stalled_since = 0.0

    @property
    def date_line(self) -> bytes:
        return self._server.date_line

    # ---- the socket ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        limits = self._server.limits
        self._transport.set_write_buffer_limits(limits.write_buffer, limits.write_buffer // 4)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._server.opened(self):
            self._refuse(Overloaded("Too many connections; try again.", retry_after=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.closed(self)
        self._gone()

    def eof_received(self) -> bool:
        self._gone()
        return False

    def pause_writing(self) -> None:
        self.writable = False
        if self.exchange is not None and self.exchange.on_writable is not None:
            self.exchange.on_writable(False)

    def resume_writing(self) -> None:
        self.writable = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        if self.exchange is not None and self.exchange.on_writable is not None:
            self.exchange.on_writable(True)

    def data_received(self, data: bytes) -> None:
        if self._error is not None:
            self._linger(len(data))
        elif self.exchange is not None:
            self._keep_for_later(data)
        else:
            self._feed(data)

    async def drain(self) -> None:
        if not self.writable:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def _gone(self) -> None:
        """The client will not read any more: stop working for it."""
        self.keep_alive = False
        self._queue.clear()
        self._pending.clear()
        for waiter in self._waiters:
            waiter.cancel()
        self._waiters.clear()
        if self._task is not None:
            self._task.cancel()

    def cut(self) -> None:
        self._transport.abort()

    def end_if_idle(self) -> None:
        self.keep_alive = False
        if self.exchange is None and self._reading_head and not self._head_bytes:
            self._transport.close()

    def check(self, now: float) -> None:
        """Called each second: is somebody keeping us waiting?"""
        limits = self._server.limits
        waiting_bytes = self._transport.get_write_buffer_size()
        if not waiting_bytes or waiting_bytes < self._stalled_bytes:
            self._stalled_since = now
        self._stalled_bytes = waiting_bytes
        if waiting_bytes and now - self._stalled_since > limits.write_stall:
            self.cut()
        elif self.exchange is not None:
            return
        elif not self._deadline:
            self._deadline = now + self._patience()
        elif now > self._deadline:
            if self._error is not None:
                self.cut()
            elif self._between_requests:
                self._transport.close()
            else:
                self._refuse(RequestTimeout("The request did not arrive in time; send it faster."))

    @property
    def _between_requests(self) -> bool:
        return self._reading_head and not self._head_bytes

    def _patience(self) -> float:
        """Seconds that the state we are in may last."""
        limits = self._server.limits
        if self._answered and self._between_requests:
            return limits.keep_alive
        return limits.head_timeout if self._reading_head else limits.body_idle_timeout

    # ---- reading ----

    def _keep_for_later(self, data: bytes) -> None:
        """Bytes behind the request that is being answered: pipelined ones, and bounded."""
        if len(self._pending) + len(data) > self._server.limits.pipelined:
            self.keep_alive = False
            self._pending.clear()
        elif self.keep_alive:
            self._pending += data

    def _feed(self, data: bytes) -> None:
        limits = self._server.limits
        if self._reading_head:
            room = limits.head - self._head_bytes
            if len(data) > room:
                self._parse(data[:room])
                if self._error is None and self._reading_head:
                    self._refuse(HeadTooLarge(f"Headers are limited to {limits.head} bytes."))
                data = data[room:]
            else:
                if not self._head_bytes:
                    self._deadline = 0.0
                self._head_bytes += len(data)
        else:
            self._deadline = 0.0
        if self._error is None and data:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._error = InvalidRequest("Upgrading the connection is not supported.", code="upgrade")
        except httptools.HttpParserError:
            self._error = self._error or InvalidRequest("This is not a valid HTTP/1.1 request.", code="bad_http")
        if self._error is not None:
            self._refuse(self._error)

    def _refuse(self, error: ApiError) -> None:
        """Answer a request that is not worth a handler, and end the connection once the client had time to read it."""
        self._error = error
        self.keep_alive = False
        self._queue.clear()
        if self.exchange is not None:
            return
        request = Request("POST", "", b"", {}, b"", self._peer, time.monotonic())
        self.exchange = Exchange(request, self, self._transport)
        self.exchange.fail(error)
        self._deadline = time.monotonic() + self._server.limits.head_timeout

    def _linger(self, size: int) -> None:
        self._lingering += size
        if self._lingering > _LINGER_BYTES:
            self.cut()

    # ---- httptools' callbacks ----

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers = {}
        self._body = []
        self._body_bytes = 0
        self._reading_head = True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        headers = self._headers
        headers[name] = headers[name] + b", " + value if name in headers else value

    def on_headers_complete(self) -> None:
        self._reading_head = False
        self._head_bytes = 0
        self._received = time.monotonic()
        self._deadline = 0.0
        limit = self._server.limits.body
        length = self._headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > limit:
            self._error = _body_too_large(limit)
        elif b"expect" in self._headers and self._headers[b"expect"].lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        self._body_bytes += len(piece)
        if self._body_bytes > self._server.limits.body:
            self._error = self._error or _body_too_large(self._server.limits.body)
            self._body.clear()
        else:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        self._reading_head = True
        if self._error is not None:
            return
        parser = self._parser
        path, _, query = self._target.partition(b"?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(
            parser.get_method().decode("latin-1"),
            path.decode("latin-1"),
            query,
            self._headers,
            body,
            self._peer,
            self._received,
        )
        keep_alive, http11 = parser.should_keep_alive(), parser.get_http_version() == "1.1"
        if self.exchange is None:
            self._begin(request, keep_alive, http11)
        else:
            self._queue.append((request, keep_alive, http11))

    # ---- answering ----

    def _begin(self, request: Request, keep_alive: bool, http11: bool) -> None:
        self.keep_alive = keep_alive and not self._server.draining
        self.http11 = http11
        exchange = self.exchange = Exchange(request, self, self._transport)
        try:
            handler = self._server.routes.find(request.method, request.path)
        except ApiError as error:
            exchange.fail(error)
        else:
            self._task = self._loop.create_task(self._run(handler, exchange))

    async def _run(self, handler: Handler, exchange: Exchange) -> None:
        try:
            await handler(exchange)
            if not exchange.finished:
                raise RuntimeError(f"the handler of {exchange.request.path} did not finish its answer")
        except ApiError as error:
            exchange.fail(error)
        except Exception:  # the last line of defence: a defect costs one request, not the process
            log.exception("unhandled error", extra={"path": exchange.request.path})
            exchange.fail(InternalError("Something went wrong on our side."))

    def answered(self) -> None:
        """The exchange is complete: go on with the next request, or close."""
        self._task = None
        if not self.keep_alive:
            self._end()
            return
        self.exchange = None
        self._answered = True
        self._deadline = 0.0
        if self._queue:
            self._loop.call_soon(self._next)
        elif self._pending:
            self._loop.call_soon(self._feed_pending)

    def _end(self) -> None:
        """Close the sending side; a client that still sends would otherwise get a reset before it reads the answer."""
        if self._error is not None and self._transport.can_write_eof():
            self.exchange = None
            self._transport.write_eof()
        else:
            self._transport.close()

    def _next(self) -> None:
        if self._queue and self.exchange is None and not self._transport.is_closing():
            self._begin(*self._queue.popleft())

    def _feed_pending(self) -> None:
        if self.exchange is None and not self._transport.is_closing():
            data = bytes(self._pending)
            self._pending.clear()
            self._feed(data)


def _body_too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes; send less, or upload it as a file.")

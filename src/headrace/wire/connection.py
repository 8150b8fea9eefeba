"""One client connection of the server: reading requests within bounds, answering them in order.

Requests are parsed by httptools (llhttp, strict); what llhttp does not bound (heads, trailers, times, pipelined
requests) is bounded here. Bodies are buffered up to a limit before the handler runs.
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

_LINGER_BYTES = 64 * 1024 * 1024
"""What a refused client may still send before the connection is cut, so that it gets to read why."""
_CHUNK_OVERHEAD = 8
"""Bytes of framing for each byte of payload: a client may send every byte as a chunk of its own, which takes six."""

_IDLE, _HEAD, _BODY = range(3)


class ServerConnection(asyncio.Protocol):
    """One client connection: requests are answered one after another, in order."""

    __slots__ = (
        "_answered",
        "_body",
        "_body_bytes",
        "_deadline",
        "_error",
        "_headers",
        "_held",
        "_lingering",
        "_parser",
        "_peer",
        "_pending",
        "_queue",
        "_received",
        "_seen",
        "_server",
        "_stage",
        "_stalled_since",
        "_taken",
        "_target",
        "_transport",
        "_waiters",
        "exchange",
        "http11",
        "keep_alive",
        "loop",
        "task",
        "writable",
    )

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.exchange: Exchange | None = None
        """The one that is being answered. A finished one stays while others wait behind it, to keep their order."""
        self.task: asyncio.Task[None] | None = None
        self.writable = True
        self.keep_alive = True
        """Whether there may be another request; once False, it stays so."""
        self.http11 = True
        self._server = server
        self.loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._peer = ""
        self._queue: deque[tuple[Request, bool, bool]] = deque()
        self._pending = bytearray()
        self._waiters: list[asyncio.Future[None]] = []
        self._error: ApiError | None = None
        """Why nothing more is read; it is the last answer."""
        self._lingering = 0
        self._stage = _IDLE
        self._seen = 0
        """Bytes of the reads that brought the current request so far."""
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._held = 0
        self._received = 0.0
        self._answered = False
        self._deadline = 0.0
        """When we lose patience; 0 until the server's next look, which sets it: reading the clock is not free."""
        self._taken = 0
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
        count = self._server.opened(self)
        if count > limits.connections + limits.connections // 8:
            self.cut()
        elif count > limits.connections:
            self._refuse(Overloaded("Too many connections; try again.", retry_after=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()
        self._server.closed(self)

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
        self._next()

    def data_received(self, data: bytes) -> None:
        if self._error is not None:
            self._linger(len(data))
        elif self.exchange is not None:
            self._keep_for_later(data)
        else:
            self._feed(data)

    async def drain(self) -> None:
        if not self.writable and not self._transport.is_closing():
            waiter = self.loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def _gone(self) -> None:
        """The client will not read any more: stop working for it."""
        self.keep_alive = False
        self._queue.clear()
        self._pending.clear()
        self._drop_body()
        for waiter in self._waiters:
            waiter.cancel()
        self._waiters.clear()
        if self.exchange is not None:
            self.exchange.disconnect()
        if self.task is not None and not self.task.cancelling():
            self.task.cancel()  # once: a second one would interrupt the handler's cleaning up

    def cut(self) -> None:
        self._transport.abort()

    def end_if_idle(self) -> None:
        """The server drains: what runs is finished, what comes after it is not begun."""
        if self.exchange is not None:
            if not self.exchange.finished:
                self.keep_alive = False
        elif self._error is None and self._stage == _IDLE:
            self.keep_alive = False
            self._transport.close()

    # ---- patience ----

    def check(self, now: float) -> None:
        """Called each second: is somebody keeping us waiting?"""
        if self._stalled(now):
            self.cut()
        elif self.exchange is None:
            self._deadline = self._deadline or now + self._patience(now)
            if now > self._deadline:
                self._lose_patience()

    def _lose_patience(self) -> None:
        if self._error is not None:
            self.cut()
        elif self._stage == _IDLE:
            self.keep_alive = False
            self._transport.close()
        else:
            self._refuse(RequestTimeout("The request did not arrive in time; send it faster."))

    def _stalled(self, now: float) -> bool:
        """True if the client has taken nothing of what waits for it, for too long."""
        waiting = self._transport.get_write_buffer_size()
        taken = (self.exchange.bytes_sent if self.exchange is not None else 0) - waiting
        if not waiting or taken > self._taken:
            self._stalled_since = 0.0
        elif not self._stalled_since:
            self._stalled_since = now
        self._taken = taken
        return bool(self._stalled_since) and now - self._stalled_since > self._server.limits.write_stall

    def _patience(self, now: float) -> float:
        """Seconds that the state we are in may last."""
        limits = self._server.limits
        if self._error is not None:
            return limits.linger
        if self._stage == _BODY:
            return min(limits.body_idle_timeout, self._received + limits.body_timeout - now)
        return limits.keep_alive if self._stage == _IDLE and self._answered else limits.head_timeout

    # ---- reading ----

    def _keep_for_later(self, data: bytes) -> None:
        """Bytes behind the request that is being answered: pipelined ones, and bounded."""
        if not self.keep_alive:
            return
        if len(self._pending) + len(data) > self._server.limits.pipelined:
            self._error = InvalidRequest("Too much was pipelined.")  # never sent: the client may ask again elsewhere
            self.keep_alive = False
            self._queue.clear()
            self._pending.clear()
        else:
            self._pending += data

    def _feed(self, data: bytes) -> None:
        self._seen += len(data)
        if self._stage == _BODY:
            self._deadline = 0.0  # of a body each piece has its time, of a head the whole
        self._parse(data)
        if self._stage == _IDLE or self._error is not None:
            return
        limits = self._server.limits
        if self._stage == _BODY:
            self._hold_body()
        elif self._seen > limits.head:
            self._refuse(_head_too_large(limits.head))

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
                data = b""
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade(data[upgrade.args[0] :])
            except httptools.HttpParserError:
                self._error = self._error or InvalidRequest("This is not a valid HTTP/1.1 request.", code="bad_http")
                data = b""
        if self._error is not None:
            self._refuse(self._error)

    def _without_upgrade(self, rest: bytes) -> bytes:
        """The request once more, but without asking for another protocol, and what came behind its head.

        A server may ignore an upgrade (RFC 9110, 7.8), and must, for the sake of clients that offer h2c with every
        first request; but llhttp takes all that follows the head for the other protocol.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._error = self._error or InvalidRequest("This is not a proxy: CONNECT is not supported.")
        if self._error is not None:
            return b""
        options = self._headers.pop(b"connection", b"").lower()
        lines = [b"%b %b HTTP/%b\r\n" % (method, self._target, self._parser.get_http_version().encode())]
        lines += [b"%b: %b\r\n" % field for field in self._headers.items() if field[0] != b"upgrade"]
        if b"close" in options:
            lines.append(b"connection: close\r\n")
        self._parser = httptools.HttpRequestParser(self)
        return b"%b\r\n%b" % (b"".join(lines), rest)

    def _hold_body(self) -> None:
        """Account for a body that is not complete, ours and the server's."""
        limits, server = self._server.limits, self._server
        server.unfinished += self._body_bytes - self._held
        self._held = self._body_bytes
        if server.unfinished > limits.bodies:
            self._refuse(Overloaded("Too many large requests are arriving; try again.", retry_after=1))
        elif self._seen > 2 * limits.head + (1 + _CHUNK_OVERHEAD) * self._body_bytes:
            self._refuse(TooLarge("The body's chunks or trailers are larger than what they carry."))

    def _drop_body(self) -> None:
        self._body.clear()
        self._server.unfinished -= self._held
        self._held = 0

    def _refuse(self, error: ApiError) -> None:
        """Answer what is not worth a handler, in its turn, and then wait until the client had time to read it."""
        self._error = error
        self._drop_body()
        if self.exchange is not None or not self.keep_alive:
            return
        self.keep_alive = False
        request = Request("POST", "", b"", {}, b"", self._peer, time.monotonic())
        self.exchange = Exchange(request, self, self._transport)
        self.exchange.fail(error)

    def _linger(self, size: int) -> None:
        self._lingering += size
        if self._lingering > _LINGER_BYTES:
            self.cut()

    # ---- httptools' callbacks ----

    def on_message_begin(self) -> None:
        self._stage = _HEAD
        self._deadline = 0.0
        self._target = b""
        self._headers = {}
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stage != _HEAD:
            return  # a trailer; nobody on the way has looked at those
        name = name.lower()
        headers = self._headers
        headers[name] = headers[name] + b", " + value if name in headers else value

    def on_headers_complete(self) -> None:
        self._stage = _BODY
        self._received = time.monotonic()
        self._deadline = 0.0
        limits, headers = self._server.limits, self._headers
        length = headers.get(b"content-length")
        if self._seen > limits.head and self._head_size() > limits.head:
            self._error = _head_too_large(limits.head)
        elif length is not None and int(length) > limits.body:
            self._error = _body_too_large(limits.body)
        elif b"host" not in headers and self._parser.get_http_version() == "1.1":
            self._error = InvalidRequest("The request has no Host header.", code="bad_http")
        elif b"expect" in headers and self._expects_continue():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _head_size(self) -> int:
        return len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers.items())

    def _expects_continue(self) -> bool:
        expected = self._headers[b"expect"].lower() == b"100-continue"
        return expected and self._parser.get_http_version() == "1.1" and not self._parser.should_upgrade()

    def on_body(self, piece: bytes) -> None:
        self._body_bytes += len(piece)
        if self._body_bytes > self._server.limits.body:
            self._error = self._error or _body_too_large(self._server.limits.body)
            self._body.clear()
        else:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        parser = self._parser
        if self._error is not None or parser.should_upgrade():
            return
        self._stage = _IDLE
        self._seen = 0
        target = self._target if self._target[:1] == b"/" else _origin_form(self._target)
        path, _, query = target.partition(b"?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if self._held:
            self._drop_body()
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
        if not self.keep_alive:
            return
        self.keep_alive = keep_alive and http11 and not self._server.draining
        self.http11 = http11
        exchange = self.exchange = Exchange(request, self, self._transport)
        try:
            handler = self._server.routes.find(request.method, request.path)
        except ApiError as error:
            exchange.fail(error)
        else:
            self.task = self.loop.create_task(self._run(handler, exchange))

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
        self.task = None
        if not self.keep_alive:
            self._end()
        elif self._queue or self._pending or self._error is not None or not self.writable:
            self.loop.call_soon(self._next)  # until then the exchange keeps the place of those who wait
        else:
            self.exchange = None
            self._answered = True
            self._deadline = 0.0

    def _next(self) -> None:
        """Begin what waits behind a finished exchange, unless the client has not even read that one's answer."""
        if self.exchange is None or not self.exchange.finished or not self.writable or self._transport.is_closing():
            return
        self.exchange = None
        self._answered = True
        self._deadline = 0.0
        if self._queue:
            self._begin(*self._queue.popleft())
        elif self._error is not None:
            self._refuse(self._error)
        elif self._pending:
            data = bytes(self._pending)
            self._pending.clear()
            self._feed(data)
        elif self._server.draining:
            self.end_if_idle()

    def _end(self) -> None:
        """Close; after an error only our side, since a client that still sends would be reset before it reads it."""
        self.exchange = None
        self._deadline = 0.0
        if self._error is not None and not self._transport.is_closing():
            self._transport.write_eof()
        else:
            self._transport.close()


def _origin_form(target: bytes) -> bytes:
    """``/path?query`` out of ``http://host/path?query``, which a server has to accept (RFC 9112, 3.2.2)."""
    _, absolute, rest = target.partition(b"://")
    if not absolute:
        return target
    start = min((index for index in (rest.find(b"/"), rest.find(b"?")) if index >= 0), default=len(rest))
    return rest[start:] if rest[start : start + 1] == b"/" else b"/" + rest[start:]


def _head_too_large(limit: int) -> HeadTooLarge:
    return HeadTooLarge(f"Headers are limited to {limit} bytes.")


def _body_too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes; send less, or upload it as a file.")

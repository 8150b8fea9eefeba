"""One client connection of the server: its requests are answered one after another, in order.

One task serves the whole connection. It waits for the next request in a ``Handoff``, so that a handler runs as soon as
its request was read, without a turn of the loop between.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, cast

from headrace.errors import ApiError, InternalError, InvalidRequest, Overloaded, RequestTimeout
from headrace.wire.exchange import Exchange
from headrace.wire.handoff import Handoff
from headrace.wire.message import Request
from headrace.wire.outbox import Outlet
from headrace.wire.reader import RequestReader, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.wire.routes import Handler
    from headrace.wire.server import Server

log = logging.getLogger(__name__)

_LINGER_BYTES = 64 * 1024 * 1024
"""What a refused client may still send before the connection is cut, so that it gets to read why."""


class ServerConnection(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_answered",
        "_deadline",
        "_error",
        "_handler",
        "_lingering",
        "_outlet",
        "_pending",
        "_reader",
        "_stalled_since",
        "_taken",
        "_transport",
        "_waiters",
        "_wanted",
        "exchange",
        "handoff",
        "http11",
        "keep_alive",
        "loop",
        "server",
        "task",
        "writable",
    )

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.exchange: Exchange | None = None
        """The one that is being answered. A finished one stays while others wait behind it, to keep their order."""
        self.task: asyncio.Task[None] | None = None
        """Runs the handlers, from the first request to the end of the connection."""
        self.writable = True
        self.keep_alive = True
        """Whether there may be another request; once False, it stays so."""
        self.http11 = True
        self.loop = loop
        self.handoff: Handoff[Any] = Handoff(loop)
        """For the waits of the handlers."""
        self.server = server
        self._transport: asyncio.Transport
        self._outlet: Outlet
        self._reader: RequestReader
        self._handler: Handler
        self._wanted: Handoff[bool] = Handoff(loop)
        """True: ``exchange`` waits for ``_handler``; False: there will be no other one."""
        self._pending = bytearray()
        self._waiters: list[asyncio.Future[None]] = []
        self._error: ApiError | None = None
        """Why nothing more is read; it is the last answer."""
        self._lingering = 0
        self._answered = False
        self._deadline = 0.0
        """When we lose patience; 0 until the server's next look, which sets it: reading the clock is not free."""
        self._taken = 0
        self._stalled_since = 0.0

    # ---- the socket ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        server, limits = self.server, self.server.limits
        self._outlet = Outlet(server.outbox, self._transport)
        # A writer must stop as soon as the system takes no more: it has buffers of its own.
        self._transport.set_write_buffer_limits(0)
        address = transport.get_extra_info("peername")
        peer = str(address[0]) if isinstance(address, tuple) else ""
        self._reader = RequestReader(limits, server.unfinished, peer, self._transport.write)
        count = server.opened(self)
        if count > limits.connections + limits.connections // 8:
            self.cut()
        elif count > limits.connections:
            self._refuse(Overloaded("Too many connections; try again.", retry_after=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()
        self.server.closed(self)

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
        elif self.exchange is not None or not self.writable:
            self._keep_for_later(data)
        else:
            reader = self._reader
            reader.feed(data)
            if reader.requests:
                self._begin(reader.requests.popleft())
            if reader.error is not None:
                self._refuse(reader.error)

    async def drain(self) -> None:
        self.server.outbox.flush()
        if not self.writable and not self._transport.is_closing():
            waiter = self.loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def _gone(self) -> None:
        """The client will not read any more: stop working for it."""
        self.keep_alive = False
        self._reader.requests.clear()
        self._pending.clear()
        self._reader.stop()
        for waiter in self._waiters:
            waiter.cancel()
        self._waiters.clear()
        exchange, task = self.exchange, self.task
        if exchange is not None:
            exchange.disconnect()
        if task is None:
            return
        if exchange is None or exchange.finished:
            self._wanted.set(False)
        elif not task.cancelling():
            task.cancel()  # once: a second one would interrupt the handler's cleaning up

    def first(self, call: Callable[[], None]) -> None:
        self.server.outbox.first(call)

    def cut(self) -> None:
        self.server.outbox.flush()
        self._transport.abort()

    def _close(self) -> None:
        self.server.outbox.flush()
        self._transport.close()

    def end_if_idle(self) -> None:
        """The server drains: what runs is finished, what comes after it is not begun."""
        if self.exchange is not None:
            if not self.exchange.finished:
                self.keep_alive = False
        elif self._error is None and self._reader.stage == Stage.IDLE:
            self.keep_alive = False
            self._close()

    # ---- patience ----

    def check(self, now: float) -> None:
        """Called each second: is somebody keeping us waiting?"""
        if self._stalled(now):
            self.cut()
        elif self.exchange is None:
            if self._reader.moved or not self._deadline:
                self._reader.moved = False
                self._deadline = now + self._patience(now)
            if now > self._deadline:
                self._lose_patience()

    def _lose_patience(self) -> None:
        if self._error is not None:
            self.cut()
        elif self._reader.stage == Stage.IDLE:
            self.keep_alive = False
            self._close()
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
        return bool(self._stalled_since) and now - self._stalled_since > self.server.limits.write_stall

    def _patience(self, now: float) -> float:
        """Seconds that the state we are in may last."""
        limits, stage = self.server.limits, self._reader.stage
        if self._error is not None:
            return limits.linger
        if stage == Stage.BODY:
            return min(limits.body_idle_timeout, self._reader.received + limits.body_timeout - now)
        return limits.keep_alive if stage == Stage.IDLE and self._answered else limits.head_timeout

    # ---- reading ----

    def _keep_for_later(self, data: bytes) -> None:
        """Bytes behind the request that is being answered: pipelined ones, and bounded."""
        if not self.keep_alive:
            return
        if len(self._pending) + len(data) > self.server.limits.pipelined:
            self._error = InvalidRequest("Too much was pipelined.")  # never sent: the client may ask again elsewhere
            self.keep_alive = False
            self._reader.requests.clear()
            self._pending.clear()
        else:
            self._pending += data

    def _refuse(self, error: ApiError) -> None:
        """Answer what is not worth a handler, in its turn, and then wait until the client had time to read it."""
        self._error = error
        self._reader.stop()
        if self.exchange is not None or not self.keep_alive:
            return
        self.keep_alive = False
        request = Request("POST", "", b"", {}, b"", "", time.monotonic())
        self.exchange = Exchange(request, self, self._outlet)
        self.exchange.fail(error)

    def _linger(self, size: int) -> None:
        self._lingering += size
        if self._lingering > _LINGER_BYTES:
            self.cut()

    # ---- answering ----

    def _begin(self, request: Request) -> None:
        if not self.keep_alive:
            return
        self.keep_alive = request.keep_alive and request.http11 and not self.server.draining
        self.http11 = request.http11
        exchange = self.exchange = Exchange(request, self, self._outlet)
        try:
            self._handler = self.server.routes.find(request.method, request.path)
        except ApiError as error:
            exchange.fail(error)
        else:
            if self.task is None:
                self.task = self.loop.create_task(self._serve())
            else:
                self._wanted.set(True)

    async def _serve(self) -> None:
        going = True
        while going:
            exchange = self.exchange
            assert exchange is not None
            try:
                await self._handler(exchange)
                if not exchange.finished:
                    raise RuntimeError(f"the handler of {exchange.request.path} did not finish its answer")
            except ApiError as error:
                exchange.fail(error)
            except Exception:  # the last line of defence: a defect costs one request, not the process
                log.exception("unhandled error", extra={"path": exchange.request.path})
                exchange.fail(InternalError("Something went wrong on our side."))
            del exchange  # an idle connection holds no request
            going = await self._wanted

    def answered(self) -> None:
        """The exchange is complete: go on with the next request, or close."""
        if not self.keep_alive:
            self._end()
        elif self._reader.requests or self._pending or self._error is not None or not self.writable:
            self.loop.call_soon(self._next)  # until then the exchange keeps the place of those who wait
        else:
            self.exchange = None
            self._answered = True
            self._deadline = 0.0

    def _next(self) -> None:
        """Begin what waits behind a finished exchange, unless the client has not even read that one's answer."""
        if (self.exchange is not None and not self.exchange.finished) or not self.writable:
            return
        if self._transport.is_closing():
            return
        self.exchange = None
        self._answered = True
        self._deadline = 0.0
        if self._reader.requests:
            self._begin(self._reader.requests.popleft())
        elif self._error is not None:
            self._refuse(self._error)
        elif self._pending:
            data = bytes(self._pending)
            self._pending.clear()
            self.data_received(data)
        elif self.server.draining:
            self.end_if_idle()

    def _end(self) -> None:
        """Close; after an error only our side, since a client that still sends would be reset before it reads it."""
        self.exchange = None
        self._deadline = 0.0
        self.server.outbox.flush()
        if self._error is not None and not self._transport.is_closing():
            self._transport.write_eof()
        else:
            self._transport.close()

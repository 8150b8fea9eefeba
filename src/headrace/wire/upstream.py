"""One connection to an origin: a request at a time, and its answer as it arrives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from headrace.errors import ConnectionLost, ProtocolError, WireError
from headrace.wire.outbox import Outlet
from headrace.wire.response import Answer, ChunkedDecoder, ResponseHead

if TYPE_CHECKING:
    from headrace.wire.client import Origin


class Sink(Protocol):
    """Takes an answer as it arrives. The methods must not block, and never raise."""

    def on_head(self, head: ResponseHead) -> None: ...

    def on_data(self, payload: bytes, framed: bytes | None) -> None:
        """A piece of the body; ``framed`` is the same as exactly one HTTP chunk, where it arrived so."""

    def on_end(self) -> None: ...

    def on_answer(self, answer: Answer) -> None:
        """In place of ``on_head``, ``on_data`` and ``on_end`` where all of it arrived in one piece."""

    def on_lost(self, error: WireError) -> None:
        """The answer will not be complete."""


class _Rest:
    """The sink of an answer of which nothing more matters."""

    def on_head(self, head: ResponseHead) -> None: ...

    def on_data(self, payload: bytes, framed: bytes | None) -> None: ...

    def on_end(self) -> None: ...

    def on_answer(self, answer: Answer) -> None: ...

    def on_lost(self, error: WireError) -> None: ...


_REST = _Rest()
_REST_SECONDS = 5.0
"""For so long an answer may go on of which nothing more matters."""


class Connection(asyncio.Protocol):
    """One connection to an origin."""

    __slots__ = (
        "_buffer",
        "_chunked",
        "_expires",
        "_head",
        "_left",
        "_origin",
        "_outlet",
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
        self._outlet: Outlet
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
        self._outlet.write(data)

    def pause(self) -> None:
        """Stop reading: the one who is to take the answer cannot keep up."""
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def let_go(self) -> None:
        """Nothing more of the answer matters: once its end was read the connection is free again."""
        self._sink = _REST
        self.idle_since = 0.0
        self.resume()

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

    def age(self, now: float) -> None:
        """Find out whether the connection is too old, or idle for too long, to be used again."""
        self.idle_since = self.idle_since or now
        idle = self._sink is None and now - self.idle_since > self._origin.limits.keep_alive
        self.outworn = idle or now > self._expires
        if self._sink is _REST and now - self.idle_since > _REST_SECONDS:
            self.abort()

    # ---- asyncio.Protocol ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._outlet = Outlet(self._origin.outbox, self._transport)
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

    def eof_received(self) -> None:
        self._origin.retire(self)

    def _lost(self, stale: bool) -> ConnectionLost:
        return ConnectionLost(f"{self._origin.name} closed the connection before its answer was complete", stale=stale)

    def data_received(self, data: bytes) -> None:
        sink = self._sink
        if sink is None:  # nothing was asked: whatever this is, it is not an answer
            self._origin.retire(self)
            self._transport.abort()
            return
        chunked = self._chunked
        if self._head is None:
            try:
                self._read_head(data, sink)
            except ProtocolError as error:
                self.fail(error)
        elif chunked is not None:
            # The usual case of a stream: one read is one chunk. It is passed on as it is, without being taken apart.
            if chunked.at_border and data[-2:] == b"\r\n":
                line = data.find(b"\r\n", 0, 18)
                size = len(data) - line - 4
                if size > 0 and data[:line] == b"%x" % size:
                    sink.on_data(data[line + 2 : -2], data)
                    return
            try:
                self._chunk(data, chunked, sink)
            except ProtocolError as error:
                self.fail(error)
        else:
            self._body(data, sink)

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
            head = ResponseHead(data[:end], self._origin.lines)
            status, data = head.status, data[end + 4 :]
            if status < 100 or status == 101:
                raise ProtocolError(f"{self._origin.name} answered with status {status}")
        if head.length == len(data) and not head.event_stream:
            self._whole(head, data, sink)
        else:
            self._begin(head, data, sink)

    def _whole(self, head: ResponseHead, body: bytes, sink: Sink) -> None:
        """The usual case of what is no stream: one read is one answer."""
        self._sink = None
        if head.keep_alive:
            if self._paused:
                self.resume()
            self._origin.give_back(self)
        else:
            self._transport.close()
        sink.on_answer(Answer(head, head.status, body))

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

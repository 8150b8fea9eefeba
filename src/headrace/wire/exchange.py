"""One request and the answer that is being written to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from headrace.errors import ApiError
from headrace.wire.dialect import OPENAI, Dialect
from headrace.wire.handoff import Handoff

if TYPE_CHECKING:
    from headrace.wire.connection import ServerConnection
    from headrace.wire.message import Request
    from headrace.wire.recording import Recording

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b"")) for status in range(100, 1000)}

EVENT_STREAM: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
"""The head of a stream that no proxy on the way should hold back."""


class _Writer(Protocol):
    def write(self, data: bytes) -> None: ...


class _Nowhere:
    """In place of a client that reads nothing, so that whoever writes to it need not know."""

    def write(self, data: bytes) -> None:
        pass


class Exchange(Struct, eq=False):
    """A handler answers either with one ``respond``, or with ``start``, any number of ``write`` and one ``finish``.

    Writing never blocks; a handler that writes without end watches ``writable`` or awaits ``drain``. When the client
    goes away the handler's task is cancelled.
    """

    request: Request
    _connection: ServerConnection
    _transport: _Writer
    status: int = 0
    """The status that was sent; 0 until then."""
    finished: bool = False
    bytes_sent: int = 0
    lines: bytes = b""
    """Header lines, each with its line end, that the answer gets whoever writes it."""
    dialect: Dialect = OPENAI
    """The form in which the client is told of errors."""
    streaming_events: bool = False
    """True once an event stream has begun, so that an error can still be told as an event."""
    on_writable: Callable[[bool], None] | None = None
    """Called with False when the client reads too slowly, and with True when it caught up."""
    _chunked: bool = True
    _holder: Recording | None = None
    """Holds the end back, until ``release``."""

    @property
    def handoff(self) -> Handoff[Any]:
        """Where this exchange's handler can wait for what a protocol brings; one wait at a time."""
        return self._connection.handoff

    @property
    def started(self) -> bool:
        return self.status != 0

    @property
    def writable(self) -> bool:
        return self._connection.writable

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written."""
        await self._connection.drain()

    def first(self, call: Callable[[], None]) -> None:
        """Call ``call``, once in this turn of the loop, before anything leaves that was written in it."""
        self._connection.first(call)

    def record(self, recording: Recording, *, hold: bool = False) -> None:
        """Let ``recording`` see all that is sent from here on; ``hold``: the answer's end waits for ``release``."""
        recording.attach(self._transport)
        self._transport = recording
        if hold:
            self._holder = recording

    def release(self) -> None:
        """Send the end, if it was held back, and hold nothing back from here on."""
        holder, self._holder = self._holder, None
        if holder is not None and holder.release():
            if self._connection.server.draining:
                self._connection.keep_alive = False
            self._connection.answered()

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole answer."""
        head = self._head(status, headers)
        head.append(b"content-length: %d\r\n\r\n" % len(body) if status != 204 else b"\r\n")
        if self.request.method != "HEAD":
            head.append(body)
        if self._holder is not None:
            self._holder.hold()
        self._transport.write(b"".join(head))
        self.bytes_sent += len(body)
        self.finished = True
        if self._holder is None:
            self._connection.answered()

    def fail(self, error: ApiError) -> None:
        """Send an error; where an answer has begun already, the connection is cut so that nobody takes it for whole."""
        if self.finished:
            return
        if self.started:
            self.abort()
        else:
            self.respond(error.status, error.headers(), self.dialect.error(error))

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send the head of an answer whose length is not known."""
        headers = list(headers)
        head = self._head(status, headers)
        self.streaming_events = any(value.startswith(b"text/event-stream") for _, value in headers)
        self._chunked = self._connection.http11
        if self._chunked:
            head.append(b"transfer-encoding: chunked\r\n")
        else:  # HTTP/1.0 knows no chunks: the end of the connection is the end of the body
            self._connection.keep_alive = False
        head.append(b"\r\n")
        self._transport.write(b"".join(head))
        if self.request.method == "HEAD":
            self._transport = _Nowhere()

    def write(self, payload: bytes) -> None:
        """Send a piece of the body; an empty one is nothing."""
        if not payload:
            return
        self._transport.write(b"%x\r\n%b\r\n" % (len(payload), payload) if self._chunked else payload)
        self.bytes_sent += len(payload)

    def write_framed(self, framed: bytes, payload: bytes) -> None:
        """As ``write(payload)``, where ``framed`` is the same bytes already as one HTTP chunk: saves building it."""
        self._transport.write(framed if self._chunked else payload)
        self.bytes_sent += len(payload)

    def finish(self, last: bytes = b"") -> None:
        """End the body, with ``last`` as its last piece: in one write, so that nobody sees one without the other."""
        if self.finished or not self.started:
            raise RuntimeError("only an answer that has been started, and not yet finished, can be finished")
        if self._holder is not None:
            self._holder.hold()
        if self._chunked:
            self._transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if last else b"0\r\n\r\n")
        elif last:
            self._transport.write(last)
        self.bytes_sent += len(last)
        self.finished = True
        if self._holder is None:
            self._connection.answered()

    def abort(self) -> None:
        """Cut the connection: the client sees that the answer is not complete."""
        self.finished = True
        self._connection.cut()

    def disconnect(self) -> None:
        """The client is gone; what is still written goes nowhere."""
        self._transport = _Nowhere()

    def _head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
        if self.status:
            raise RuntimeError("an answer was started twice")
        self.status = status
        connection = self._connection
        head = [_STATUS_LINES[status], connection.server.date_line, self.lines]
        for name, value in headers:
            head += (name, b": ", value, b"\r\n")
        if not connection.keep_alive:
            head.append(b"connection: close\r\n")
        return head

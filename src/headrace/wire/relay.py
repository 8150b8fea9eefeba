"""Carrying one upstream answer to one client.

Of an event stream only whole events are passed on (cut at the last blank line) and nothing is sent before the first
one; any other answer is held until it is complete. So whoever relays may try again elsewhere as long as
``exchange.started`` is False, and a stream that breaks breaks between two events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from headrace.errors import ApiError, ConnectionLost, ProtocolError, UpstreamTimeout, WireError
from headrace.wire.exchange import Exchange
from headrace.wire.handoff import Handoff
from headrace.wire.limits import MIB
from headrace.wire.response import Answer, ResponseHead
from headrace.wire.upstream import Connection

_DONE = (b"data: [DONE]", b"data:[DONE]")
_ERROR = b'data: {"error"'

HELD_BYTES = MIB
"""An answer up to this size is held until it is complete; a larger one is passed on as it comes."""
WHOLE_BYTES = 16 * MIB
"""The largest answer that is held where it cannot be passed on in pieces."""
TAIL_BYTES = 1024
EVENT_BYTES = MIB
"""The largest single event."""

Headers = Iterable[tuple[bytes, bytes]]


class Relay(Struct, eq=False):
    """One attempt at one answer. A ``Sink``.

    ``on_start`` is called once, when the first bytes are about to go to the client, and gives the headers to send.
    ``on_events`` sees each piece of whole events and gives what to send instead (the same object: unchanged).
    It raises ProtocolError for events that make no sense, and ConnectionLost for those that tell of an end.
    ``whole``: an answer that is not a stream is never passed on before it is complete, because the caller changes it.
    ``joined``: the answer has begun already and this attempt goes on with its stream, so that what is no stream is held
    too.
    """

    exchange: Exchange
    on_start: Callable[[ResponseHead], Headers]
    on_events: Callable[[bytes], bytes] | None = None
    """May be set as late as in ``on_start``."""
    on_last: Callable[[], None] | None = None
    """Called when a stream's last event, [DONE], is about to go to the client. The exchange is finished in that same
    write: a client that saw the end has got everything, and may leave."""
    deadline: float = float("inf")
    """``time.monotonic()`` by which the first bytes must be there."""
    whole: bool = False
    joined: bool = False
    enough: bool = False
    """Set by ``on_events``: what it gives is the last that the client gets, and the rest is not wanted."""
    first_event: float = 0.0
    last_event: float = 0.0
    paused: bool = False
    stalled: float = 0.0
    """Seconds for which the client did not keep up."""
    tail: bytes = b""
    """The last bytes of a large answer that is not a stream; its usage stands there."""
    _done: Handoff[Any] | None = None
    _over: bool = False
    _connection: Connection | None = None
    _head: ResponseHead | None = None
    _held: list[bytes] = []
    _passing: bool = False
    """A large answer that is not a stream goes to the client as it comes."""
    _paused_at: float = 0.0
    _size: int = 0
    _stream: bool = False
    _rest: bytes = b""
    """Of an event that is not complete."""
    _last_payload: bytes = b""

    def begin(self, connection: Connection, request: bytes) -> Handoff[Answer | None]:
        """Send ``request``; the answer is to be awaited, and ``end`` called whatever comes of it.

        The answer is None if it went to the client completely (``finish`` is left to the caller, but for a stream with
        ``on_last``); it is there if it was held and nothing was sent. Raises WireError, here or there, if it does not
        arrive completely.
        """
        exchange = self.exchange
        self._connection = connection
        self._over = False
        self._done = exchange.handoff
        exchange.on_writable = self._on_writable
        connection.send(request, self)
        if self.joined and not exchange.writable:
            self._on_writable(False)
        return self._done

    def end(self) -> None:
        """Nothing more is wanted: where the answer is not complete, the connection is dropped and the peer stops."""
        self._over = True
        self.exchange.on_writable = None
        if self.paused:
            self.stalled += time.monotonic() - self._paused_at
        if self._connection is not None:
            self._connection.abort()

    def fail(self, error: WireError) -> None:
        """End the attempt: nothing more is taken from the peer, so that nothing more goes to the client."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        if not self._over and self._done is not None:
            self._over = True
            self._done.fail(error)

    @property
    def begun(self) -> bool:
        """Whether bytes of this attempt went to the client."""
        return self.first_event > 0 or self._passing

    def beat(self, now: float, interval: float) -> None:
        """Send the dialect's heartbeat if the stream has begun and was silent for ``interval`` seconds."""
        if self.first_event and not self.paused and now - self.last_event >= interval:
            self.last_event = now
            self.exchange.write(self.exchange.dialect.heartbeat)

    # ---- Sink ----

    def on_head(self, head: ResponseHead) -> None:
        self._head = head
        self._stream = head.status == 200 and head.event_stream

    def on_data(self, payload: bytes, framed: bytes | None) -> None:
        if not self._stream:
            self._hold(payload)
            return
        if self._rest or payload[-2:] != b"\n\n":
            payload, framed = self._cut(payload), None
            if not payload:
                return
        self.last_event = time.monotonic()
        if not self.first_event:
            self.first_event = self.last_event
            if not self.joined:
                self._start()
        self._last_payload = payload
        if self.on_events is not None:
            try:
                changed = self.on_events(payload)
            except WireError as error:
                self.fail(error)
                return
            if changed is not payload:
                payload, framed = changed, None
        # An event that is JSON ends with }: this look at one byte is all that the others pay.
        if self._last_payload[-3:-2] != b"}" and self.on_last is not None and _is_done(self._last_payload):
            self._end(payload, self.on_last)
        elif framed is not None:
            self.exchange.write_framed(framed, payload)
        else:
            self.exchange.write(payload)
            if self.enough:
                self._end_early()

    def on_end(self) -> None:
        self._connection = None
        head = self._head
        if self._over or head is None:
            return
        if self._stream:
            self._end_stream()
        else:
            self._finish(None if self._passing else Answer(head, head.status, b"".join(self._held)))

    def on_answer(self, answer: Answer) -> None:
        self._connection = None
        if not self._over and self._done is not None:
            self._over = True
            self._done.set(answer)

    def on_lost(self, error: WireError) -> None:
        self._connection = None
        if _is_last(self._last_payload):
            self._finish(None)  # only the end of the body is missing, and nothing of the answer
        else:
            self.fail(error)

    # ---- inside ----

    def _finish(self, answer: Answer | None) -> None:
        if not self._over and self._done is not None:
            self._over = True
            self._done.set(answer)

    def _end(self, last: bytes, on_last: Callable[[], None]) -> None:
        """With the stream's last event the answer is whole, even if the body's end is still to come."""
        on_last()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.let_go()
        self.exchange.finish(last)
        self._finish(None)

    def _end_early(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._finish(None)

    def _start(self) -> None:
        assert self._head is not None
        self.exchange.start(self._head.status, self.on_start(self._head))

    def _cut(self, payload: bytes) -> bytes:
        """Whole events out of what came so far; the rest waits for more."""
        data = self._rest + payload
        feeds, crlf = data.rfind(b"\n\n"), data.rfind(b"\n\r\n")
        border = max(feeds + 2 if feeds >= 0 else 0, crlf + 3 if crlf >= 0 else 0)
        self._rest = data[border:]
        if len(self._rest) > EVENT_BYTES:
            self._rest = b""
            self.fail(ProtocolError(f"an event of the answer is larger than {EVENT_BYTES} bytes"))
        return data[:border]

    def _end_stream(self) -> None:
        rest, self._rest = self._rest, b""
        if rest.strip() in _DONE:
            self.on_data(rest.rstrip() + b"\n\n", None)
        if _is_last(self._last_payload):
            self._finish(None)
        else:
            self.fail(ConnectionLost("the stream ended before its last event"))

    def _hold(self, payload: bytes) -> None:
        if self._passing:
            self.exchange.write(payload)
            self.tail = (self.tail + payload)[-TAIL_BYTES:]
            return
        self._held.append(payload)
        self._size += len(payload)
        if self.whole or self.joined:
            if self._size > WHOLE_BYTES:
                self.fail(ProtocolError(f"the answer is larger than {WHOLE_BYTES} bytes"))
        elif self._size > HELD_BYTES:
            self._passing = True
            self._start()
            held = b"".join(self._held)
            self.exchange.write(held)
            self.tail = held[-TAIL_BYTES:]
            self._held.clear()

    def _on_writable(self, writable: bool) -> None:
        self.paused = not writable
        if writable:
            self.stalled += time.monotonic() - self._paused_at
        else:
            self._paused_at = time.monotonic()
        if self._connection is not None:
            if writable:
                self._connection.resume()
            else:
                self._connection.pause()


def _is_done(events: bytes) -> bool:
    return events.rstrip().rpartition(b"\n")[2] in _DONE


def _is_last(events: bytes) -> bool:
    """Whether a stream may end behind ``events``: with [DONE], or with an error, which the client is told so."""
    return _is_done(events) or events.rstrip().rpartition(b"\n")[2].startswith(_ERROR)


def end_broken(exchange: Exchange, error: ApiError) -> None:
    """End an answer that has begun and cannot be completed: an error event in a stream, a cut connection elsewhere."""
    if exchange.streaming_events:
        exchange.write(exchange.dialect.broken(error))
        exchange.finish()
    else:
        exchange.abort()


def content_type(head: ResponseHead) -> tuple[bytes, bytes]:
    """The header that says what an upstream's answer is."""
    return (b"content-type", head.header(b"content-type") or b"application/json")


class RelayWatch:
    """Looks at all running relays once a second: one timer for all of them."""

    def __init__(self, heartbeat: float | None = None) -> None:
        self._relays: set[Relay] = set()
        self._heartbeat = heartbeat
        self.add: Callable[[Relay], None] = self._relays.add
        """From here on it is looked at."""
        self.discard: Callable[[Relay], None] = self._relays.discard

    async def run(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.check(time.monotonic())

    def check(self, now: float) -> None:
        for relay in list(self._relays):
            if now > relay.deadline and not relay.begun and not relay.paused:
                relay.fail(UpstreamTimeout("no answer before the deadline"))
            elif self._heartbeat is not None:
                relay.beat(now, self._heartbeat)

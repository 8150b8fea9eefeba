"""A copy of what an exchange sends, to be kept and sent again."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from headrace.errors import ProtocolError
from headrace.wire.exchange import EVENT_STREAM, Exchange
from headrace.wire.response import ChunkedDecoder, FieldLines, ResponseHead


class _Writer(Protocol):
    def write(self, data: bytes) -> None: ...


class Recorded(Struct, array_like=True, gc=False):
    """An answer as its client got it, without what belongs to the one exchange only."""

    status: int
    content_type: bytes
    body: bytes
    request_id: str = ""
    """Under which it was known, where that was told."""

    def replay(self, exchange: Exchange, *headers: tuple[bytes, bytes]) -> None:
        """Send it once more."""
        if self.content_type.startswith(b"text/event-stream"):
            exchange.start(self.status, [*EVENT_STREAM, *headers])
            exchange.write(self.body)
            exchange.finish()
        else:
            exchange.respond(self.status, [(b"content-type", self.content_type), *headers], self.body)


class Recording:
    """Stands between an exchange and its connection. Above ``limit`` bytes nothing is kept, and all is passed on."""

    __slots__ = ("_held", "_holding", "_limit", "_pieces", "_size", "_writer", "retry_after")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._writer: _Writer
        self._holding = False
        self._held: list[bytes] = []
        self.retry_after = 0.0
        """Seconds, of the answer that ``answer`` has read."""

    def attach(self, writer: _Writer) -> None:
        """Called by ``Exchange.record``."""
        self._writer = writer

    def hold(self) -> None:
        """What is written from now on is the answer's end: it waits for ``release``."""
        self._holding = True

    def release(self) -> bool:
        """Pass on what waits. False where the end did not come yet."""
        was, self._holding = self._holding, False
        for data in self._held:
            self._writer.write(data)
        self._held.clear()
        return was

    def write(self, data: bytes) -> None:
        if self._holding:
            self._held.append(data)
        else:
            self._writer.write(data)
        self._size += len(data)
        if self._size <= self._limit:
            self._pieces.append(data)
        else:
            self._pieces.clear()

    def answer(self) -> Recorded | None:
        """What was sent; None where it was too large. Only for an exchange that is finished."""
        if not self._pieces:
            return None
        raw, _, rest = b"".join(self._pieces).partition(b"\r\n\r\n")
        head = ResponseHead(raw, FieldLines())
        body = rest
        if head.chunked:
            decoder = ChunkedDecoder()
            body = decoder.feed(rest)
            if not decoder.done:
                raise ProtocolError("the recorded answer is not complete")
        after = head.fields.get(b"retry-after", b"")
        self.retry_after = float(after) if after.isdigit() else 0.0
        request_id = head.fields.get(b"x-request-id", b"").decode("latin-1")
        return Recorded(head.status, head.fields.get(b"content-type", b""), body, request_id)

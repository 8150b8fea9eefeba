"""Reading the requests of one client connection, within bounds.

Requests are parsed by httptools (llhttp, strict); what llhttp does not bound (heads, trailers, chunks) is bounded here.
Bodies are buffered up to a limit before a handler runs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from enum import IntEnum

import httptools

from headrace.errors import ApiError, HeadTooLarge, InvalidRequest, Overloaded, TooLarge
from headrace.wire.limits import ServerLimits
from headrace.wire.message import Request

_CHUNK_OVERHEAD = 8
"""Bytes of framing for each byte of payload: a client may send every byte as a chunk of its own, which takes six."""


class Stage(IntEnum):
    """What the next bytes belong to."""

    IDLE = 0
    HEAD = 1
    BODY = 2


_IDLE, _HEAD, _BODY = Stage  # a look-up in an enumeration costs as much as a parser's callback


class Unfinished:
    """Bytes of bodies that are not complete, over all connections."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class RequestReader:
    """``feed`` it; complete requests are in ``requests``, and ``error`` is why there will be no more."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_fields",
        "_headers",
        "_held",
        "_limits",
        "_parser",
        "_peer",
        "_seen",
        "_target",
        "_unfinished",
        "_write",
        "error",
        "moved",
        "received",
        "requests",
        "stage",
    )

    def __init__(self, limits: ServerLimits, unfinished: Unfinished, peer: str, write: Callable[[bytes], None]) -> None:
        """``write`` tells the client to go on where it asks first (``Expect: 100-continue``)."""
        self.requests: deque[Request] = deque()
        self.error: ApiError | None = None
        self.stage: int = _IDLE
        self.moved = True
        """Set with each step that gives the client new time; whoever watches the clock takes it back."""
        self.received = 0.0
        """``time.monotonic()`` of the last head's end."""
        self._limits = limits
        self._unfinished = unfinished
        self._peer = peer
        self._write = write
        self._parser = httptools.HttpRequestParser(self)
        self._seen = 0
        """Bytes of the reads that brought the current request so far."""
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._fields: dict[bytes, bytes] = {}
        """That are being read: of a head, and then of trailers, which nobody on the way has looked at."""
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._held = 0

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._seen += len(data)
        if self.stage == _BODY:
            self.moved = True  # of a body each piece has its time, of a head the whole
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse(self._without_upgrade(data[upgrade.args[0] :]))
        except httptools.HttpParserError:
            self._refuse_syntax()
        if self.stage and self.error is None:
            self._bound()

    def stop(self) -> None:
        """Nothing more is read: let go of what has arrived."""
        self._body.clear()
        self._unfinished.size -= self._held
        self._held = 0

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade(data[upgrade.args[0] :])
            except httptools.HttpParserError:
                self._refuse_syntax()
                return

    def _refuse_syntax(self) -> None:
        self.error = self.error or InvalidRequest("This is not a valid HTTP/1.1 request.", code="bad_http")

    def _without_upgrade(self, rest: bytes) -> bytes:
        """The request once more, but without asking for another protocol, and what came behind its head.

        A server may ignore an upgrade (RFC 9110, 7.8), and must, for the sake of clients that offer h2c with every
        first request; but llhttp takes all that follows the head for the other protocol.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self.error = self.error or InvalidRequest("This is not a proxy: CONNECT is not supported.")
        if self.error is not None:
            return b""
        options = self._headers.pop(b"connection", b"").lower()
        lines = [b"%b %b HTTP/%b\r\n" % (method, self._target, self._parser.get_http_version().encode())]
        lines += [b"%b: %b\r\n" % field for field in self._headers.items() if field[0] != b"upgrade"]
        if b"close" in options:
            lines.append(b"connection: close\r\n")
        self._parser = httptools.HttpRequestParser(self)
        return b"%b\r\n%b" % (b"".join(lines), rest)

    def _bound(self) -> None:
        """A request is not complete: is what came of it within bounds?"""
        limits, unfinished = self._limits, self._unfinished
        if self.stage == _HEAD:
            if self._seen > limits.head:
                self.error = _head_too_large(limits.head)
            return
        unfinished.size += self._body_bytes - self._held
        self._held = self._body_bytes
        if unfinished.size > limits.bodies:
            self.error = Overloaded("Too many large requests are arriving; try again.", retry_after=1)
        elif self._seen > 2 * limits.head + (1 + _CHUNK_OVERHEAD) * self._body_bytes:
            self.error = TooLarge("The body's chunks or trailers are larger than what they carry.")

    # ---- httptools' callbacks ----

    def on_message_begin(self) -> None:
        self.stage = _HEAD
        self.moved = True
        self._target = b""
        self._fields = {}
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        fields = self._fields
        if name in fields:
            value = fields[name] + b", " + value
        fields[name] = value

    def on_headers_complete(self) -> None:
        self.stage = _BODY
        self.received = time.monotonic()
        self.moved = True
        limits = self._limits
        self._headers = headers = self._fields
        self._fields = {}
        length = headers.get(b"content-length")
        if self._seen > limits.head and self._head_size() > limits.head:
            self.error = _head_too_large(limits.head)
        elif length is not None and int(length) > limits.body and int(length) > self._largest():
            self.error = _body_too_large(self._largest())
        elif b"host" not in headers and self._parser.get_http_version() == "1.1":
            self.error = InvalidRequest("The request has no Host header.", code="bad_http")
        elif b"expect" in headers and self._expects_continue():
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _head_size(self) -> int:
        return len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers.items())

    def _expects_continue(self) -> bool:
        expected = self._headers[b"expect"].lower() == b"100-continue"
        return expected and self._parser.get_http_version() == "1.1" and not self._parser.should_upgrade()

    def on_body(self, piece: bytes) -> None:
        self._body_bytes += len(piece)
        if self._body_bytes > self._limits.body and self._body_bytes > self._largest():
            self.error = self.error or _body_too_large(self._largest())
            self._body.clear()
        else:
            self._body.append(piece)

    def _largest(self) -> int:
        """What the body may have; looked up only where it is larger than most."""
        limits = self._limits
        return limits.upload if self._target.partition(b"?")[0] in limits.upload_paths else limits.body

    def on_message_complete(self) -> None:
        parser, headers, body = self._parser, self._headers, self._body
        if self.error is not None or parser.should_upgrade():
            return
        self.stage = _IDLE
        self._seen = 0
        target = self._target if self._target[:1] == b"/" else _origin_form(self._target)
        path, _, query = target.partition(b"?")
        if self._held:
            self._unfinished.size -= self._held
            self._held = 0
        keep_alive = parser.should_keep_alive()
        self.requests.append(
            Request(
                parser.get_method().decode("latin-1"),
                path.decode("latin-1"),
                query,
                headers,
                body[0] if len(body) == 1 else b"".join(body),
                self._peer,
                self.received,
                keep_alive,
                # Who keeps the connection without a word about it speaks 1.1: the question itself is a slow one.
                (keep_alive and b"connection" not in headers) or parser.get_http_version() == "1.1",
            )
        )
        self._body = []


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

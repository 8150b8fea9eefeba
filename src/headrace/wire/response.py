"""Reading the answers of our own upstreams: the head, and the two ways in which a body is framed.

The peer is a worker or a router that we run; what would make its framing ambiguous is refused all the same.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from headrace.errors import ProtocolError

_MAX_CHUNK_LINE = 32
_MAX_KNOWN_LINE = 128
_KNOWN_LINES = 512
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_BODILESS = frozenset((204, 304))


class FieldLines:
    """Header lines that were taken apart before: an upstream sends nearly the same ones with every answer."""

    __slots__ = ("_known", "find")

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[bytes, bytes]] = {}
        self.find: Callable[[bytes], tuple[bytes, bytes] | None] = self._known.get
        """Name, in lower case, and value of a known line."""

    def split(self, line: bytes) -> tuple[bytes, bytes]:
        """Of any line; it is known from now on."""
        name, _, value = line.partition(b":")
        field = (name.lower(), value.strip())
        if len(line) <= _MAX_KNOWN_LINE:
            if len(self._known) >= _KNOWN_LINES:
                self._known.clear()
            self._known[line] = field
        return field


class ResponseHead:
    """Status and fields of an answer; names are in lower case, of a repeated field the last one counts."""

    __slots__ = ("chunked", "event_stream", "fields", "keep_alive", "length", "status")

    def __init__(self, raw: bytes, known: FieldLines) -> None:
        """``raw`` is everything up to the empty line, without it. Raises ProtocolError."""
        lines = raw.split(b"\r\n")
        self.status, http11 = (200, True) if lines[0] == b"HTTP/1.1 200 OK" else _status(lines[0])
        del lines[0]
        fields: dict[bytes, bytes] = {}
        self.fields = fields
        find = known.find
        for line in lines:
            name, value = find(line) or known.split(line)
            if name in fields and name in _FRAMING and fields[name] != value:
                raise ProtocolError("the peer's framing is ambiguous")
            fields[name] = value
        self.chunked = b"transfer-encoding" in fields
        length = fields.get(b"content-length")
        if self.chunked and (fields[b"transfer-encoding"].lower() != b"chunked" or length is not None):
            raise ProtocolError("the peer's framing is ambiguous")
        if length is not None and not (length.isdigit() and len(length) < 19):
            raise ProtocolError("the peer's Content-Length is not a number")
        self.length = int(length) if length is not None else None
        if self.status in _BODILESS:
            self.length = 0
        self.event_stream = fields.get(b"content-type", b"")[:17] == b"text/event-stream"
        connection = fields.get(b"connection")
        if connection is None:
            self.keep_alive = http11
        else:
            self.keep_alive = b"close" not in connection.lower() if http11 else connection.lower() == b"keep-alive"

    def header(self, name: bytes) -> bytes:
        """The field's value; empty if the field is not there."""
        return self.fields.get(name, b"")


def _status(line: bytes) -> tuple[int, bool]:
    """The status, and whether the peer speaks HTTP/1.1."""
    if line[:7] != b"HTTP/1." or line[8:9] != b" " or not line[9:12].isdigit():
        raise ProtocolError("the peer does not speak HTTP/1.1")
    return int(line[9:12]), line[7:8] == b"1"


class Answer(Struct, eq=False, gc=False):
    """A whole answer."""

    head: ResponseHead
    status: int
    body: bytes


class ChunkedDecoder:
    """Takes the chunked coding off (RFC 9112, 7.1). Trailers are read and dropped."""

    __slots__ = ("_buffer", "_left", "_trailers", "at_border", "done", "excess")

    def __init__(self) -> None:
        self.at_border = True
        """True when no chunk is half read, so that the next bytes begin with a chunk's size line."""
        self.done = False
        self.excess = False
        """True if more came behind the end."""
        self._buffer = b""
        self._left = 0
        self._trailers = False

    def feed(self, data: bytes) -> bytes:
        """The payload in ``data``; ``done`` tells that the body is complete. Raises ProtocolError."""
        data = self._buffer + data if self._buffer else data
        self._buffer = b""
        pieces: list[bytes] = []
        position = 0
        while position < len(data):
            if self._trailers:
                position = self._skip_trailer(data, position)
            elif self._left > 2:
                piece = data[position : position + self._left - 2]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
            elif self._left:
                position += self._skip_line_end(data[position])
            else:
                position = self._read_size(data, position)
            if self.done:
                self.excess = position < len(data)
                break
        self.at_border = not (self._buffer or self._left or self._trailers)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_size(self, data: bytes, position: int) -> int:
        end = data.find(b"\r\n", position, position + _MAX_CHUNK_LINE)
        if end < 0:
            if len(data) - position >= _MAX_CHUNK_LINE:
                raise ProtocolError("the peer sent a chunk without a size")
            self._buffer = data[position:]
            return len(data)
        size = _chunk_size(data[position:end])
        self._trailers = size == 0
        self._left = size + 2 if size else 0
        return end + 2

    def _skip_line_end(self, byte: int) -> int:
        if byte != b"\r\n"[2 - self._left]:
            raise ProtocolError("the peer's chunk is longer than it said")
        self._left -= 1
        return 1

    def _skip_trailer(self, data: bytes, position: int) -> int:
        end = data.find(b"\r\n", position)
        if end < 0:
            self._buffer = data[position:]
            if len(self._buffer) > 64 * 1024:
                raise ProtocolError("the peer's trailers do not end")
            return len(data)
        self.done = end == position
        return end + 2


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits.isalnum() or len(digits) > 12 or digits[1:2] in (b"x", b"X"):  # int() would take 0x5
        raise ProtocolError("the peer sent a chunk without a size")
    try:
        return int(digits, 16)
    except ValueError:
        raise ProtocolError("the peer sent a chunk without a size") from None

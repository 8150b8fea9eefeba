"""The parser of requests beside h11, which is written for correctness alone: the same requests, in any pieces."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import h11
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from headrace.wire.limits import ServerLimits
from headrace.wire.reader import RequestReader, Unfinished

_TOKENS = st.text("abcXYZ-09", min_size=1, max_size=8)
_VALUES = st.text('abc ,;=\t"é/', max_size=12).map(str.strip)
_METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"])
_TARGETS = st.sampled_from(["/", "/a/b", "/a?b=c&d", "/%20", "*"])
_BODIES = st.binary(max_size=40)

Seen = tuple[str, str, dict[str, str], bytes]


@dataclass
class Model:
    """What h11 makes of the bytes so far; whole requests only."""

    whole: list[Seen] = field(default_factory=list)
    _head: h11.Request | None = None
    _body: bytes = b""

    def __post_init__(self) -> None:
        self._connection = h11.Connection(h11.SERVER)

    def feed(self, data: bytes) -> None:
        self._connection.receive_data(data)
        while True:
            event = self._connection.next_event()
            if isinstance(event, h11.Request):
                self._head, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._end()
            else:
                return

    def _end(self) -> None:
        head = self._head
        assert head is not None
        headers: dict[str, str] = {}
        for name, value in head.headers:
            key, text = name.decode(), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        self.whole.append((head.method.decode(), head.target.decode(), headers, self._body))
        self._connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        self._connection.send(h11.EndOfMessage())
        self._connection.start_next_cycle()


class Reading(RuleBasedStateMachine):
    """A client that sends valid requests, one behind the other, in any pieces."""

    @initialize()
    def connect(self) -> None:
        self.model = Model()
        self.reader = RequestReader(ServerLimits(), Unfinished(), "", self.told.append)
        self.seen: list[Seen] = []
        self.waiting = b""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bytes] = []

    @rule(
        method=_METHODS,
        where=_TARGETS,
        fields=st.lists(st.tuples(_TOKENS.map("x-{}".format), _VALUES), max_size=4),
        body=_BODIES,
        cuts=st.lists(st.integers(1, 39), max_size=3),
        chunked=st.booleans(),
    )
    def ask(
        self, method: str, where: str, fields: list[tuple[str, str]], body: bytes, cuts: list[int], chunked: bool
    ) -> None:
        lines = [f"{method} {where} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in fields)]
        if chunked:
            lines.append("Transfer-Encoding: chunked")
            borders = [0, *sorted(cut for cut in set(cuts) if cut < len(body)), len(body)]
            pieces = [body[start:end] for start, end in pairwise(borders) if start < end]
            payload = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        else:
            lines.append(f"Content-Length: {len(body)}")
            payload = body
        self.waiting += "\r\n".join([*lines, "", ""]).encode("latin-1") + payload

    @rule(size=st.integers(1, 60))
    def arrive(self, size: int) -> None:
        piece, self.waiting = self.waiting[:size], self.waiting[size:]
        self.give(piece)

    @rule()
    def arrive_all(self) -> None:
        piece, self.waiting = self.waiting, b""
        self.give(piece)

    def give(self, piece: bytes) -> None:
        if not piece:
            return
        self.model.feed(piece)
        self.reader.feed(piece)
        while self.reader.requests:
            one = self.reader.requests.popleft()
            headers = {name.decode(): value.decode("latin-1") for name, value in one.headers.items()}
            query = f"?{one.query.decode()}" if one.query else ""
            self.seen.append((one.method, one.path + query, headers, bytes(one.body)))

    @invariant()
    def same(self) -> None:
        if hasattr(self, "reader"):
            assert self.reader.error is None
            assert self.seen == self.model.whole


TestReading = Reading.TestCase

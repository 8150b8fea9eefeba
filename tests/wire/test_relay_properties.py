"""Any events in any pieces: only whole ones are passed on, all of them, in order, up to a loss at any place."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headrace.errors import ConnectionLost
from headrace.wire.exchange import Exchange
from headrace.wire.relay import Relay
from headrace.wire.response import FieldLines, ResponseHead

HEAD = ResponseHead(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked", FieldLines())
LINES = st.text("ab \n\r:é", max_size=6).map(lambda text: text.encode())
EVENTS = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n\r\n"])


class Client:
    """Takes what an exchange is given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.starts = 0

    def start(self, status: int, headers: object) -> None:
        assert not self.pieces
        self.starts += 1

    def write(self, payload: bytes) -> None:
        self.pieces.append(payload)

    def write_framed(self, framed: bytes, payload: bytes) -> None:
        self.pieces.append(payload)


class Splitting(RuleBasedStateMachine):
    """A worker that sends what it likes, in the pieces that the network makes of it."""

    @initialize(joined=st.booleans())
    def begin(self, joined: bool) -> None:
        self.client = Client()
        self.joined = joined
        self.seen: list[bytes] = []
        self.relay = Relay(cast(Exchange, self.client), lambda head: [], self.note, joined=joined)
        self.relay.on_head(HEAD)
        self.sent = b""
        self.lost = False

    def note(self, events: bytes) -> bytes:
        self.seen.append(events)
        return events

    @precondition(lambda self: not self.lost)
    @rule(line=LINES, end=EVENTS | st.just(b""))
    def send(self, line: bytes, end: bytes) -> None:
        self.give(b"data: " + line + end)

    @precondition(lambda self: not self.lost)
    @rule(data=st.binary(min_size=1, max_size=8) | st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n"]))
    def send_anything(self, data: bytes) -> None:
        self.give(data)

    @rule()
    def lose(self) -> None:
        self.relay.on_lost(ConnectionLost("gone"))
        self.lost = True

    def give(self, data: bytes) -> None:
        self.sent += data
        self.relay.on_data(data, None)

    @invariant()
    def only_whole_events(self) -> None:
        got = b"".join(self.client.pieces)
        assert self.sent.startswith(got)
        assert all(piece.endswith((b"\n\n", b"\n\r\n")) for piece in self.client.pieces)
        assert b"\n\n" not in self.sent[len(got) :]
        assert b"\n\r\n" not in self.sent[len(got) :]
        assert self.seen == self.client.pieces
        assert self.client.starts == (1 if self.client.pieces and not self.joined else 0)


TestSplitting: Any = Splitting.TestCase


@given(st.lists(st.integers(1, 40)))
def test_pieces_make_no_difference(sizes: list[int]) -> None:
    data = "".join(f'data: {{"n":{number},"text":"é\\n\\n"}}\n\n' for number in range(8)).encode() + b"data: [DONE]\n\n"
    client, start = Client(), 0
    relay = Relay(cast(Exchange, client), lambda head: [])
    relay.on_head(HEAD)
    for size in [*sizes, len(data)]:
        if data[start : start + size]:
            relay.on_data(data[start : start + size], None)
        start += size
    assert b"".join(client.pieces) == data

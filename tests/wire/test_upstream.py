"""A connection to an origin: answers in every framing and any pieces, and wrong ones."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import (
    ProtocolError,
)
from headrace.wire.client import Origin
from headrace.wire.upstream import Connection
from tests.examples import at_least
from tests.wire.conftest import Upstreams
from tests.wire.origins import OK, REQUEST, Collector, answering, asked, connected, counts
from tests.wire.transport import FakeTransport

FRAMED = {
    "length": (b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world", True),
    "length 0": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", True),
    "chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", True),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\n\r\n", True),
    "1xx first": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    "304": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n", True),
    "close": (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", False),
    "until the end": (b"HTTP/1.1 200 OK\r\n\r\nhello world", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello world", False),
}
PAYLOADS = {"length": b"hello world", "length 0": b"", "chunks": b"hello world", "trailers": b"a", "1xx first": b"ok"}
PAYLOADS |= {"204": b"", "304": b"", "close": b"ok", "until the end": b"hello world", "HTTP/1.0": b"hello world"}


@pytest.mark.parametrize("name", FRAMED)
async def test_answer_in_every_framing(upstream: Upstreams, name: str) -> None:
    answer, kept = FRAMED[name]
    script = answering(answer) if not kept else answering(answer, OK)
    one = await upstream(script)
    origin = Origin(one.url)
    sink = await asked(origin)
    assert (sink.body, sink.ended, sink.lost) == (PAYLOADS[name], 1, [])
    assert len(origin._idle) == int(kept)
    assert (await asked(origin)).body in (b"ok", PAYLOADS[name])
    assert one.connections == (1 if kept else 2)
    origin.close()


@pytest.mark.parametrize("name", FRAMED)
async def test_cut_at_every_offset_gives_the_same_answer(name: str) -> None:
    answer, kept = FRAMED[name]
    for offset in range(len(answer) + 1):
        origin = Origin("http://u")
        connection, transport = connected(origin)
        sink = Collector()
        connection.send(REQUEST, sink)
        for piece in (answer[:offset], answer[offset:]):
            if piece:
                connection.data_received(piece)
        assert counts(origin) == (1, int(kept))
        if not kept:
            transport.lose()
        assert (sink.body, sink.ended, sink.lost) == (PAYLOADS[name], 1, [])
        assert sink.head is not None


@at_least(300)
@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=8),
    st.lists(st.integers(0, 5000), max_size=12),
    st.integers(0, 2),
    st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]),
)
async def test_any_split_of_a_valid_answer_gives_the_same_payload(
    body: list[bytes], cuts: list[int], framing: int, interim: bytes
) -> None:
    payload = b"".join(body)
    fields = (b"", b"content-length: %d\r\n" % len(payload), b"transfer-encoding: chunked\r\n")[framing]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in body) + b"0\r\n\r\n"
    data = interim + b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + (chunks if framing == 2 else payload)
    origin = Origin("http://u")
    connection, transport = connected(origin)
    sink = Collector()
    connection.send(REQUEST, sink)
    for start, end in pairwise([0, *sorted(cut % len(data) for cut in cuts), len(data)]):
        if start < end:
            connection.data_received(data[start:end])
    if framing == 0:
        transport.lose()
    assert (sink.body, sink.ended, sink.lost) == (payload, 1, [])
    assert counts(origin) == ((1, 1) if framing else (0, 0))


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def let_go(origin: Origin) -> tuple[Connection, FakeTransport, Collector]:
    """A connection of whose answer nothing more matters, while its end is still to come."""
    connection, transport = connected(origin)
    sink = Collector()
    connection.send(REQUEST, sink)
    connection.data_received(STREAM_HEAD + b"4\r\nlast\r\n")
    connection.pause()
    connection.let_go()
    return connection, transport, sink


@pytest.mark.parametrize("rest", [b"0\r\n\r\n", b"4\r\nmore\r\n0\r\n\r\n"])
async def test_connection_that_was_let_go_is_free_once_its_answer_ended(rest: bytes) -> None:
    origin = Origin("http://u")
    connection, _, sink = let_go(origin)
    assert counts(origin) == (1, 0)
    connection.data_received(rest)
    assert (counts(origin), sink.body, sink.ended) == ((1, 1), b"last", 0)
    assert origin.take() is connection
    connection.send(REQUEST, other := Collector())
    connection.data_received(OK)
    assert other.body == b"ok"


async def test_connection_that_was_let_go_has_a_few_seconds_for_its_end() -> None:
    origin = Origin("http://u")
    _, transport, sink = let_go(origin)
    now = time.monotonic()
    origin.close_idle(now)
    origin.close_idle(now + 4)
    waiting = transport.is_closing()
    origin.close_idle(now + 6)
    assert (waiting, transport.is_closing()) == (False, True)
    transport.lose()
    assert (counts(origin), sink.lost) == ((0, 0), [])


BROKEN = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n\r\n",
    "status": b"HTTP/1.1 abc OK\r\n\r\n",
    "status 0": b"HTTP/1.1 000 OK\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "head without end": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000,
    "large head": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
    "too long": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabc",
    "two framings": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "chunk size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    "chunk end": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("size", [100, 1 << 20])
async def test_wrong_framing_is_a_protocol_error_and_the_end(name: str, size: int) -> None:
    origin = Origin("http://u")
    connection, transport = connected(origin)
    sink = Collector()
    connection.send(REQUEST, sink)
    data = BROKEN[name]
    for start in range(0, len(data), size):
        if not transport.is_closing():
            connection.data_received(data[start : start + size])
    assert [type(error) for error in sink.lost] == [ProtocolError]
    assert sink.ended == 0
    assert transport.is_closing()
    transport.lose()
    assert len(sink.lost) == 1
    assert counts(origin) == (0, 0)


async def test_many_interim_answers_in_one_read() -> None:
    connection, _ = connected(Origin("http://u"))
    sink = Collector()
    connection.send(REQUEST, sink)
    connection.data_received(b"HTTP/1.1 102 Processing\r\n\r\n" * 5000 + OK)
    assert (sink.body, sink.ended) == (b"ok", 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200",
    ],
)
async def test_connection_with_something_behind_its_answer_is_not_used_again(answer: bytes) -> None:
    origin = Origin("http://u")
    connection, transport = connected(origin)
    sink = Collector()
    connection.send(REQUEST, sink)
    connection.data_received(answer)
    assert (sink.ended, sink.lost) == (1, [])
    assert transport.is_closing()
    assert origin.take() is None


async def test_idle_connection_that_speaks_is_dropped() -> None:
    origin = Origin("http://u")
    connection, transport = connected(origin)
    connection.send(REQUEST, Collector())
    connection.data_received(OK)
    assert counts(origin) == (1, 1)
    connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert transport.is_closing()
    assert origin.take() is None

"""Kept-alive connections to an origin: answers in every framing, reuse, and nothing that leaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import (
    ConfigError,
    ConnectError,
    ConnectionLost,
    ProtocolError,
    UpstreamTimeout,
    WireError,
)
from headrace.wire.client import Origin, fetch
from headrace.wire.limits import ClientLimits
from headrace.wire.response import Answer, ResponseHead
from headrace.wire.upstream import Connection
from tests.examples import at_least
from tests.wire.conftest import Upstreams
from tests.wire.peer import PATIENCE, Peer, free_port, wait_for
from tests.wire.transport import FakeTransport

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
REQUEST = b"GET / HTTP/1.1\r\nhost: u\r\n\r\n"


class Collector:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.body = b""
        self.ended = 0
        self.lost: list[WireError] = []
        self.over = asyncio.Event()

    def on_head(self, head: ResponseHead) -> None:
        assert self.head is None
        self.head = head

    def on_data(self, payload: bytes, framed: bytes | None) -> None:
        assert payload
        assert not self.over.is_set()
        if framed is not None:
            size, _, rest = framed.partition(b"\r\n")
            assert (int(size, 16), rest) == (len(payload), payload + b"\r\n")
        self.body += payload

    def on_end(self) -> None:
        self.ended += 1
        self.over.set()

    def on_answer(self, answer: Answer) -> None:
        self.on_head(answer.head)
        if answer.body:
            self.on_data(answer.body, None)
        self.on_end()

    def on_lost(self, error: WireError) -> None:
        self.lost.append(error)
        self.over.set()


def answering(*answers: bytes) -> Callable[[Peer], Awaitable[None]]:
    """A script that answers each request with the next of ``answers``, and then closes."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.until(b"\r\n\r\n")
            await peer.send(answer)

    return script


async def asked(origin: Origin) -> Collector:
    """One request on a connection of ``origin``, and what became of it."""
    sink = Collector()
    connection = await origin.acquire()
    connection.send(REQUEST, sink)
    await asyncio.wait_for(sink.over.wait(), PATIENCE)
    return sink


def counts(origin: Origin) -> tuple[int, int]:
    """Open connections, and idle ones among them."""
    return len(origin._all), len(origin._idle)


# ---- framing ----

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


def connected(origin: Origin) -> tuple[Connection, FakeTransport]:
    connection, transport = Connection(origin, float("inf")), FakeTransport()
    transport.serve(connection)
    return connection, transport


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


# ---- reuse ----


async def test_connection_is_reused_the_last_one_first(upstream: Upstreams) -> None:
    one = await upstream(answering(*[OK] * 10))
    origin = Origin(one.url)
    for _ in range(3):
        await asked(origin)
    assert one.connections == 1
    first, second = await origin.acquire(), await origin.acquire()
    for connection in (first, second):
        sink = Collector()
        connection.send(REQUEST, sink)
        await asyncio.wait_for(sink.over.wait(), PATIENCE)
    assert origin.take() is second
    origin.close()


async def test_no_more_than_so_many_stay_idle(upstream: Upstreams) -> None:
    one = await upstream(answering(OK, OK))
    origin = Origin(one.url, ClientLimits(idle=2))
    await asyncio.gather(*(asked(origin) for _ in range(5)))
    await wait_for(lambda: counts(origin) == (2, 2), "two are kept")
    origin.close()


async def test_old_and_long_idle_connections_are_dropped(upstream: Upstreams) -> None:
    one = await upstream(answering(*[OK] * 10))
    origin = Origin(one.url, ClientLimits(keep_alive=10, max_age=100))
    now = time.monotonic()
    await asked(origin)
    origin.close_idle(now)
    origin.close_idle(now + 9)
    assert counts(origin) == (1, 1)
    await asked(origin)
    origin.close_idle(now + 15)
    origin.close_idle(now + 24)
    assert counts(origin) == (1, 1), "it was used meanwhile"
    origin.close_idle(now + 26)
    assert len(origin._idle) == 0
    await asked(origin)
    assert one.connections == 2
    origin.close_idle(now + 101)
    assert len(origin._idle) == 0
    await wait_for(lambda: counts(origin) == (0, 0), "it is closed")


async def test_connection_that_grew_old_in_use_is_not_kept(upstream: Upstreams) -> None:
    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await go.wait()
        await peer.send(OK)
        await peer.rest()

    one = await upstream(slow)
    origin = Origin(one.url)
    asking = asyncio.create_task(asked(origin))
    await wait_for(lambda: one.connections == 1, "it is asked")
    origin.close_idle(time.monotonic() + 1000)
    go.set()
    assert (await asking).body == b"ok"
    await wait_for(lambda: counts(origin) == (0, 0), "it is closed")


async def test_ages_are_spread(upstream: Upstreams) -> None:
    """Connections that were made together must not end together."""
    one = await upstream(answering(OK))
    origin = Origin(one.url, ClientLimits(max_age=100))
    now = time.monotonic()
    ages = [(await origin.connect())._expires - now for _ in range(20)]
    assert all(75 <= age <= 101 for age in ages)
    assert len({round(age, 3) for age in ages}) > 10
    origin.close()


async def test_connection_that_the_peer_closed_is_forgotten(upstream: Upstreams) -> None:
    one = await upstream(answering(OK))
    origin = Origin(one.url)
    await asked(origin)
    await wait_for(lambda: counts(origin) == (0, 0), "it is gone")
    await asked(origin)
    assert one.connections == 2


async def test_reader_that_was_paused_reads_again(upstream: Upstreams) -> None:
    origin = Origin("http://u")
    connection, transport = connected(origin)
    sink = Collector()
    connection.send(REQUEST, sink)
    connection.pause()
    connection.pause()
    assert not transport.is_reading()
    connection.data_received(OK)  # what the system had handed over already
    assert transport.is_reading()
    assert origin.take() is connection


# ---- losses ----


async def test_loss_in_the_middle_of_an_answer(upstream: Upstreams) -> None:
    one = await upstream(
        answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
        answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        answering(b"HTTP/1.1 200 OK\r\ncontent-"),
        answering(b""),
    )
    origin = Origin(one.url)
    for _ in range(4):
        sink = await asked(origin)
        assert sink.ended == 0
        [error] = sink.lost
        assert isinstance(error, ConnectionLost)
        assert not error.stale
    await wait_for(lambda: counts(origin) == (0, 0), "nothing is left")


async def test_reset_of_an_answer_without_length_is_a_loss(upstream: Upstreams) -> None:
    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await asyncio.sleep(0.05)
        peer.reset()

    one = await upstream(script)
    sink = await asked(Origin(one.url))
    assert (sink.body, sink.ended, len(sink.lost)) == (b"half", 0, 1)


async def test_loss_of_a_kept_connection_is_known_as_stale() -> None:
    origin = Origin("http://u")
    connection, transport = connected(origin)
    connection.send(REQUEST, Collector())
    connection.data_received(OK)
    assert origin.take() is connection
    sink = Collector()
    connection.send(REQUEST, sink)
    transport.lose(ConnectionResetError())
    [error] = sink.lost
    assert isinstance(error, ConnectionLost)
    assert error.stale


async def test_closed_connection_takes_no_request() -> None:
    connection, transport = connected(Origin("http://u"))
    transport.close()
    with pytest.raises(ConnectionLost) as caught:
        connection.send(REQUEST, Collector())
    assert caught.value.stale


async def test_closing_an_origin_tells_those_who_wait(upstream: Upstreams) -> None:
    async def silent(peer: Peer) -> None:
        await peer.rest()

    one = await upstream(silent)
    origin = Origin(one.url)
    asking = asyncio.create_task(asked(origin))
    await wait_for(lambda: counts(origin) == (1, 0), "it is asked")
    origin.close()
    [error] = (await asking).lost
    assert isinstance(error, ConnectionLost)
    await wait_for(lambda: counts(origin) == (0, 0), "nothing is left")
    await origin.connect()
    await wait_for(lambda: counts(origin) == (0, 0), "a closed origin keeps nothing open")


async def test_cancelling_a_connect_leaves_nothing(upstream: Upstreams) -> None:
    one = await upstream(answering(OK))
    origin = Origin(one.url)
    for turns in range(40):
        task = asyncio.create_task(origin.connect())
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        if task.cancel():
            await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            (await task).abort()
    await wait_for(lambda: counts(origin) == (0, 0), "nothing is left")


# ---- addresses ----


@pytest.mark.parametrize(
    ("url", "host", "port", "line"),
    [
        ("http://worker:8020", "worker", 8020, b"host: worker:8020\r\n"),
        ("http://worker/", "worker", 80, b"host: worker\r\n"),
        ("http://[::1]:8020", "::1", 8020, b"host: [::1]:8020\r\n"),
    ],
)
def test_address(url: str, host: str, port: int, line: bytes) -> None:
    origin = Origin(url)
    assert (origin.host, origin.port, origin.host_line) == (host, port, line)


@pytest.mark.parametrize(
    "url",
    [
        "worker:8020",
        "https://worker",
        "http://",
        "http://worker/v1",
        "http://worker?x",
        "http://worker:port",
        "http://worker:99999",
        "http://key@worker",
        "http://[::1",
    ],
)
def test_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match="looks like http://host:port"):
        Origin(url)


async def test_nobody_listens() -> None:
    listener = free_port()
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(ConnectError, match=f"127.0.0.1:{port} cannot be reached"):
        await Origin(f"http://127.0.0.1:{port}").connect()


async def test_name_that_does_not_resolve() -> None:
    with pytest.raises(ConnectError, match="does not resolve"):
        await Origin("http://no-such-host.invalid").connect()


async def test_connect_that_takes_too_long() -> None:
    listener = free_port()
    listener.listen(0)
    origin = Origin(f"http://127.0.0.1:{listener.getsockname()[1]}", ClientLimits(connect_timeout=0.1))
    with pytest.raises(UpstreamTimeout, match="did not accept a connection in time"):
        await _connect_until_it_fails(origin)
    origin.close()
    listener.close()


async def _connect_until_it_fails(origin: Origin) -> None:
    while True:  # the queue of one who does not accept is full soon
        await origin.connect()


# ---- fetch ----


async def test_fetch_sends_one_request_and_returns_its_answer(upstream: Upstreams) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.until(b"\r\n\r\n") + await peer.reader.readexactly(4))
        await peer.send(b"HTTP/1.1 418 Teapot\r\nx-one: 1\r\ncontent-length: 2\r\n\r\nok")
        await peer.rest()

    one = await upstream(script)
    origin = Origin(one.url)
    answer = await fetch(origin, "POST", "/path?q", headers=[(b"x-two", b"2")], body=b"body")
    assert (answer.status, answer.body, answer.head.header(b"x-one")) == (418, b"ok", b"1")
    assert seen == [b"POST /path?q HTTP/1.1\r\n" + origin.host_line + b"x-two: 2\r\ncontent-length: 4\r\n\r\nbody"]
    assert counts(origin) == (1, 1)
    origin.close()


async def test_fetch_in_time_or_not_at_all(upstream: Upstreams) -> None:
    async def silent(peer: Peer) -> None:
        await peer.rest()

    one = await upstream(silent)
    origin = Origin(one.url)
    with pytest.raises(UpstreamTimeout, match=r"did not answer /slow within 0\.05 s"):
        await fetch(origin, "GET", "/slow", timeout=0.05)
    await wait_for(lambda: counts(origin) == (0, 0), "nothing is left")


async def test_fetch_keeps_no_more_than_its_limit(upstream: Upstreams) -> None:
    one = await upstream(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + b"a" * 100, OK))
    origin = Origin(one.url)
    with pytest.raises(ProtocolError, match="larger than 99 bytes"):
        await fetch(origin, "GET", "/", limit=99)
    await wait_for(lambda: counts(origin) == (0, 0), "the connection is dropped")
    assert (await fetch(Origin(one.url), "GET", "/", limit=100)).status == 200


async def test_fetch_asks_again_where_the_kept_connection_was_closed(upstream: Upstreams) -> None:
    """The peer closes it in the moment in which the next request goes out."""

    async def crossing(peer: Peer) -> None:
        await answering(OK)(peer)
        await peer.until(b"\r\n\r\n")
        peer.reset()

    one = await upstream(crossing, answering(OK, OK))
    origin = Origin(one.url)
    for _ in range(3):
        assert (await fetch(origin, "GET", "/")).body == b"ok"
    assert one.connections == 2


async def test_fetch_does_not_ask_a_fresh_connection_again(upstream: Upstreams) -> None:
    async def rude(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        peer.reset()

    one = await upstream(rude)
    with pytest.raises(ConnectionLost):
        await fetch(Origin(one.url), "GET", "/")
    assert one.connections == 1


async def test_cancelled_fetch_drops_its_connection(upstream: Upstreams) -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.rest()
        gone.set()

    one = await upstream(script)
    origin = Origin(one.url)
    task = asyncio.create_task(fetch(origin, "GET", "/"))
    await wait_for(lambda: one.connections == 1, "it is asked")
    task.cancel()
    await asyncio.wait_for(gone.wait(), PATIENCE)
    await wait_for(lambda: counts(origin) == (0, 0), "nothing is left")
    assert task.cancelled()


async def test_unix_socket(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = str(tmp_path_factory.mktemp("s") / "one.sock")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    origin = Origin("http://child", unix_path=path)
    assert (await fetch(origin, "GET", "/")).body == b"ok"
    origin.close()
    server.close()

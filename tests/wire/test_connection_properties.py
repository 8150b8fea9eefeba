"""Any bytes in any pieces: nothing escapes the parser, what is answered is well formed, and nothing is left over."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headrace.wire.connection import ServerConnection
from headrace.wire.exchange import Exchange
from headrace.wire.limits import ServerLimits
from headrace.wire.routes import Routes
from headrace.wire.server import Server
from tests.examples import at_least
from tests.wire.transport import FakeTransport

LIMITS = ServerLimits(head=2000, body=2000, pipelined=4000)

_METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"CONNECT", b"PRI", b"BREW"])
_TARGETS = st.sampled_from([b"/", b"/a/b?c", b"*", b"http://h/p", b"h:1", b"/\xe4", b"", b"/" + b"a" * 3000])
_VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"ICE/1.0", b""])
_LINE_ENDS = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"\r\r\n"])
_FIELDS = st.one_of(
    st.sampled_from(
        [
            b"Host: x",
            b"Host: x",
            b"Connection: close",
            b"Connection: keep-alive",
            b"Connection: upgrade",
            b"Upgrade: h2c",
            b"Expect: 100-continue",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: gzip, chunked",
            b"Content-Length: 5",
            b"Content-Length: 3000",
            b"Content-Length: 99999999999999999999999",
            b"Content-Length: ",
            b" folded",
            b"X-Long: " + b"a" * 1500,
        ]
    ),
    st.binary(max_size=20),
)
_BODIES = st.sampled_from([b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"0\r\nX-T: 1\r\n\r\n", b"fff\r\n" + b"a" * 4095])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something between a request and noise."""
    end = draw(_LINE_ENDS)
    line = b" ".join((draw(_METHODS), draw(_TARGETS), draw(_VERSIONS)))
    fields = draw(st.lists(_FIELDS, max_size=5))
    return end.join((line, *fields)) + end + end + draw(_BODIES)


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """``data`` cut at ``cuts``, without empty pieces."""
    borders = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    for start, end in pairwise(borders):
        if start < end:
            yield data[start:end]


class Bench:
    """A server connection on a transport that keeps what is written."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.server = Server(Routes(fallback=self._handle), LIMITS)
        self.transport = FakeTransport()
        self.connection = ServerConnection(self.server, asyncio.get_running_loop())
        self.transport.serve(self.connection)

    async def _handle(self, exchange: Exchange) -> None:
        self.begun += 1
        try:
            await asyncio.sleep(0)
            exchange.respond(200, [], b"%b %d" % (exchange.request.method.encode(), len(exchange.request.body)))
        finally:
            self.ended += 1

    async def settle(self) -> None:
        """Until nothing moves any more."""
        for _ in range(1000):
            before = (self.begun, self.ended, len(self.transport.written))
            for _ in range(6):
                await asyncio.sleep(0)
            if before == (self.begun, self.ended, len(self.transport.written)):
                return
        raise AssertionError("it does not come to rest")


def answers(written: bytes, *, head: bool = False) -> list[int]:
    """The statuses of the answers in ``written``, which must be nothing but whole answers."""
    statuses = []
    while written:
        top, end, written = written.partition(b"\r\n\r\n")
        assert end
        match = re.match(rb"HTTP/1\.1 (\d{3}) ", top)
        assert match, top
        statuses.append(int(match[1]))
        length = re.search(rb"\r\ncontent-length: (\d+)", top)
        if statuses[-1] >= 200:
            assert length, top
            body = written[: int(length[1])]
            if not (head and (not body or body.startswith(b"HTTP/"))):
                assert len(body) == int(length[1])
                written = written[len(body) :]
    return statuses


@at_least(400)
@given(st.lists(requests(), min_size=1, max_size=3), st.lists(st.integers(0, 10_000), max_size=8))
async def test_noise_in_any_pieces_is_answered_or_closed(sent: list[bytes], cuts: list[int]) -> None:
    bench = Bench()
    for piece in pieces(b"".join(sent), cuts):
        if not bench.transport.is_closing():
            bench.connection.data_received(piece)
        await asyncio.sleep(0)
    await bench.settle()
    statuses = answers(bench.transport.written, head=any(data.startswith(b"HEAD") for data in sent))
    assert set(statuses) <= {100, 200, 400, 404, 405, 408, 413, 431}
    assert sum(status >= 400 for status in statuses) <= 1, "nothing is answered behind a refusal"
    if statuses and statuses[-1] >= 400:
        assert bench.transport.eof or bench.transport.is_closing()
    bench.connection.check(1e9)
    bench.connection.check(2e9)
    await bench.settle()
    if not bench.transport.is_closing():  # it was in the middle of a request, and has been told so
        bench.connection.check(3e9)
        bench.connection.check(4e9)
    assert bench.transport.is_closing()
    bench.transport.lose()
    await bench.settle()
    assert bench.begun == bench.ended
    assert not bench.server.connections
    assert bench.server.unfinished.size == 0


@at_least(300)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
async def test_any_bytes_are_survived(data: bytes, cuts: list[int]) -> None:
    bench = Bench()
    for piece in pieces(data, cuts):
        if not bench.transport.is_closing():
            bench.connection.data_received(piece)
    await bench.settle()
    assert set(answers(bench.transport.written)) <= {400}
    bench.transport.lose()
    await bench.settle()


_GOOD = st.one_of(
    st.builds(lambda size: (b"POST", b"Content-Length: %d\r\n" % size, b"b" * size, size), st.integers(0, 1500)),
    st.builds(
        lambda sizes: (
            b"POST",
            b"Transfer-Encoding: chunked\r\n",
            b"".join(b"%x\r\n%b\r\n" % (size, b"c" * size) for size in sizes) + b"0\r\n\r\n",
            sum(sizes),
        ),
        st.lists(st.integers(1, 200), max_size=5),
    ),
    st.just((b"GET", b"", b"", 0)),
    st.just((b"GET", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"", 0)),
    st.just((b"POST", b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n", b"abc", 3)),
)


@at_least(300)
@given(st.lists(_GOOD, min_size=1, max_size=5), st.lists(st.integers(0, 10_000), max_size=10), st.data())
async def test_requests_in_any_pieces_are_answered_in_order(
    sent: list[tuple[bytes, bytes, bytes, int]], cuts: list[int], data: st.DataObject
) -> None:
    """Whether or not the loop turns between two pieces."""
    bench = Bench()
    stream = b"".join(b"%b / HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % request[:3] for request in sent)
    for piece in pieces(stream, cuts):
        bench.connection.data_received(piece)
        for _ in range(data.draw(st.integers(0, 3))):
            await asyncio.sleep(0)
    await bench.settle()
    bodies = re.findall(rb"content-length: \d+\r\n\r\n(\w+ \d+)", bench.transport.written)
    assert bodies == [b"%b %d" % (method, size) for method, _, _, size in sent]
    bench.transport.lose()
    await bench.settle()

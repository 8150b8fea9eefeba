"""What one connection may cost: bytes, requests, time. Time is given to ``check``, nobody waits for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from headrace.wire.exchange import EVENT_STREAM, Exchange
from headrace.wire.limits import ServerLimits
from headrace.wire.routes import Routes
from tests.wire.conftest import Dial, Serve
from tests.wire.messages import code, echo, get, post
from tests.wire.peer import Peer, Served, wait_for

KIB = 1024
CHUNKED = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def look(served: Served, seconds: float) -> None:
    """The server's look at its connections, ``seconds`` from now."""
    for connection in list(served.server.connections):
        connection.check(time.monotonic() + seconds)


async def connected(served: Served, count: int = 1) -> None:
    await wait_for(lambda: len(served.server.connections) == count, f"{count} connections")


# ---- heads ----


@pytest.mark.parametrize("piece", [1000, 10_000, 1 << 20])
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET /" + b"a" * (1 << 20), id="target"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * (1 << 20), id="one field"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Short: 1\r\n" * 90_000, id="many fields"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a" * (1 << 20), id="a name"),
    ],
)
async def test_head_without_an_end_is_refused(serve: Serve, dial: Dial, head: bytes, piece: int) -> None:
    peer = await dial(await serve(echo))
    sending = asyncio.create_task(_send_in_pieces(peer, head, piece))
    reply = await peer.reply()
    assert (reply.status, code(reply), reply.headers["connection"]) == (431, "headers_too_large", "close")
    assert await peer.rest() == b""
    await sending


async def _send_in_pieces(peer: Peer, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        await peer.send(data[start : start + size])


@pytest.mark.parametrize("size", [30 * KIB, 40 * KIB, 200 * KIB])
async def test_complete_head_counts_too(serve: Serve, dial: Dial, size: int) -> None:
    """Also where it arrives in one read, and where a large body comes with it."""
    peer = await dial(await serve(echo))
    await peer.send(post(b"b" * 50_000, "X-Long: " + "a" * size))
    reply = await peer.reply()
    assert reply.status == (200 if size < 32 * KIB else 431)


async def test_requests_in_a_row_do_not_add_up(serve: Serve, dial: Dial) -> None:
    """1,000 small heads in one read are not one large head."""
    peer = await dial(await serve(echo))
    await peer.send(get("/small", "X-Pad: " + "a" * 50) * 1000)
    for _ in range(1000):
        assert (await peer.reply()).status == 200


async def test_refusals_in_a_row_do_not_add_up(serve: Serve, dial: Dial) -> None:
    """Those are answered while the read is still being parsed."""
    peer = await dial(await serve(routes=Routes()))
    await peer.send(get("/nowhere") * 3000 + b"GET /nowh")
    for _ in range(3000):
        assert (await peer.reply()).status == 404
    await peer.send(b"ere HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await peer.reply()).status == 404


# ---- bodies ----


async def test_large_length_is_refused_before_the_body(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo, body=1000))
    await peer.send(post(b"a" * 1001).removesuffix(b"a" * 1001))
    reply = await peer.reply()
    assert (reply.status, code(reply)) == (413, "request_too_large")


@pytest.mark.parametrize("piece", [100, 1 << 16])
async def test_chunks_beyond_the_limit_are_refused(serve: Serve, dial: Dial, piece: int) -> None:
    peer = await dial(await serve(echo, body=100_000))
    sending = asyncio.create_task(_send_in_pieces(peer, CHUNKED + b"400\r\n%b\r\n" % (b"a" * 1024) * 200, piece * 100))
    reply = await peer.reply()
    assert (reply.status, code(reply)) == (413, "request_too_large")
    assert await peer.rest() == b""
    await sending


async def test_body_at_the_limit_is_served(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo, body=100_000))
    await peer.send(post(b"a" * 100_000))
    assert (await peer.reply()).status == 200
    await peer.send(CHUNKED + b"186a0\r\n%b\r\n0\r\n\r\n" % (b"a" * 100_000))
    assert (await peer.reply()).status == 200


async def test_client_that_sends_on_can_read_the_refusal(serve: Serve, dial: Dial) -> None:
    """Closing at once would reset the connection and take the 413 with it."""
    peer = await dial(await serve(echo))
    await peer.send(post(b"").replace(b"Content-Length: 0", b"Content-Length: 40000000"))
    for _ in range(40):
        await peer.send(b"a" * 1_000_000)
    assert (await peer.reply()).status == 413
    assert await peer.rest() == b""


async def test_refused_client_that_does_not_stop_is_cut(serve: Serve, dial: Dial) -> None:
    served = await serve(echo, body=10)
    peer = await dial(served)
    await peer.send(post(b"a" * 11))
    await peer.reply()
    with pytest.raises(ConnectionError):
        await _send_in_pieces(peer, b"a" * (200 << 20), 1 << 20)
    await connected(served, 0)


async def test_refused_client_that_does_not_close_is_cut(serve: Serve, dial: Dial) -> None:
    served = await serve(echo, body=10)
    peer = await dial(served)
    await peer.send(post(b"a" * 11))
    await peer.reply()
    look(served, 0)
    look(served, ServerLimits().linger - 1)
    await asyncio.sleep(0.01)
    await connected(served, 1)
    look(served, ServerLimits().linger + 1)
    await connected(served, 0)


@pytest.mark.parametrize(
    "filler", [b"0" * 1000, b"1;" + b"x" * 1000, b"0\r\nX-Trailer: " + b"x" * 1000, b"0\r\n" + b"X-T: 1\r\n" * 100]
)
async def test_framing_without_end_is_refused(serve: Serve, dial: Dial, filler: bytes) -> None:
    """Leading zeros, extensions and trailers are bytes too."""
    peer = await dial(await serve(echo))
    sending = asyncio.create_task(_send_in_pieces(peer, CHUNKED + filler + filler[-1:] * 3_000_000, 1 << 16))
    reply = await peer.reply()
    assert reply.status in (400, 413)
    await sending


async def test_smallest_chunks_are_served(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    await peer.send(CHUNKED + b"1\r\na\r\n" * 200_000 + b"0\r\n\r\n")
    assert (await peer.reply()).body == b"POST /p ?  " + b"a" * 200_000


async def test_unfinished_bodies_have_a_bound_in_common(serve: Serve, dial: Dial) -> None:
    served = await serve(echo, bodies=250_000)
    peers = [await dial(served) for _ in range(3)]
    for count, peer in enumerate(peers[:2], 1):
        await peer.send(post(b"a" * 200_000)[:100_100])
        await wait_for(lambda count=count: served.server.unfinished.size > count * 99_000, "it is held")  # type: ignore[misc]
    await peers[2].send(post(b"a" * 200_000)[:100_100])
    assert (await peers[2].reply()).status == 503
    peers[1].reset()
    await wait_for(lambda: served.server.unfinished.size < 101_000, "what a lost client sent is not held")
    await peers[0].send(post(b"a" * 200_000)[100_100:])
    assert (await peers[0].reply()).status == 200
    assert served.server.unfinished.size == 0


# ---- time ----


async def test_head_has_a_time_as_a_whole(serve: Serve, dial: Dial) -> None:
    served = await serve(echo)
    peer = await dial(served)
    await peer.send(b"GET / HTTP/1.1\r\n")
    await connected(served)
    await asyncio.sleep(0.01)
    look(served, 0)
    await peer.send(b"X-More: 1\r\n")
    await asyncio.sleep(0.01)
    look(served, ServerLimits().head_timeout + 1)
    reply = await peer.reply()
    assert (reply.status, code(reply)) == (408, "request_timeout")
    assert await peer.rest() == b""


async def test_each_piece_of_a_body_has_its_time(serve: Serve, dial: Dial) -> None:
    served = await serve(echo)
    peer = await dial(served)
    data = post(b"a" * 100)
    await peer.send(data[:-50])
    await connected(served)
    await asyncio.sleep(0.01)
    look(served, 0)
    await peer.send(data[-50:-40])
    await asyncio.sleep(0.01)
    look(served, 29)
    look(served, 58)
    assert served.server.connections
    look(served, 60)
    assert (await peer.reply()).status == 408


async def test_whole_body_has_a_time(serve: Serve, dial: Dial) -> None:
    served = await serve(echo)
    peer = await dial(served)
    data = post(b"a" * 100)
    await peer.send(data[:-50])
    await connected(served)
    for second in range(0, 320, 20):
        await peer.send(b"a")
        await asyncio.sleep(0.005)
        look(served, second)
        look(served, second + 1)
    assert (await peer.reply()).status == 408


async def test_connection_without_a_request_is_closed(serve: Serve, dial: Dial) -> None:
    served = await serve(echo)
    peer = await dial(served)
    await connected(served)
    look(served, 0)
    look(served, ServerLimits().head_timeout + 1)
    assert await peer.rest() == b""


async def test_empty_lines_are_no_sign_of_life(serve: Serve, dial: Dial) -> None:
    served = await serve(echo)
    peer = await dial(served)
    await connected(served)
    look(served, 0)
    await peer.send(b"\r\n\r\n")
    await asyncio.sleep(0.01)
    look(served, ServerLimits().head_timeout + 1)
    assert await peer.rest() == b""


async def test_idle_connection_is_kept_longer_and_closed_silently(serve: Serve, dial: Dial) -> None:
    served = await serve(echo)
    peer = await dial(served)
    await peer.send(get())
    await peer.reply()
    look(served, 0)
    look(served, 74)
    await peer.send(get())
    assert (await peer.reply()).status == 200
    look(served, 75)
    look(served, 151)
    assert await peer.rest() == b""


async def test_second_head_has_no_more_time_than_the_first(serve: Serve, dial: Dial) -> None:
    served = await serve(echo)
    peer = await dial(served)
    await peer.send(get())
    await peer.reply()
    look(served, 0)
    await peer.send(b"GET / HT")
    await asyncio.sleep(0.01)
    look(served, 1)
    look(served, 12)
    assert (await peer.reply()).status == 408


async def test_handler_may_take_its_time(serve: Serve, dial: Dial) -> None:
    go = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await go.wait()
        await echo(exchange)

    served = await serve(handler)
    peer = await dial(served)
    await peer.send(get())
    await wait_for(lambda: served.server.active == 1, "the request runs")
    look(served, 0)
    look(served, 3600)
    go.set()
    assert (await peer.reply()).status == 200


# ---- readers that do not read ----


async def _flood(exchange: Exchange) -> None:
    exchange.start(200, EVENT_STREAM)
    while True:
        exchange.write(b"data: %b\n\n" % (b"a" * 1000))
        await exchange.drain()
        await asyncio.sleep(0)  # else the loop never learns that the reader is gone


async def test_writer_is_paused_with_bounded_memory_and_resumed(serve: Serve, dial: Dial) -> None:
    served = await serve(_flood)
    peer = await dial(served)
    await peer.send(get())
    await wait_for(lambda: any(not connection.writable for connection in served.server.connections), "it is paused")
    [connection] = served.server.connections
    sent = connection.exchange.bytes_sent if connection.exchange is not None else 0
    waiting = connection._transport.get_write_buffer_size()
    assert 0 < waiting < 64 * KIB
    await peer.reader.readexactly(sent + 1_000_000)
    peer.reset()
    await connected(served, 0)


async def test_reader_that_takes_nothing_is_cut(serve: Serve, dial: Dial) -> None:
    served = await serve(_flood)
    peer = await dial(served)
    await peer.send(get())
    await wait_for(lambda: any(not connection.writable for connection in served.server.connections), "it is paused")
    look(served, 0)
    look(served, 1)
    look(served, 60)
    await asyncio.sleep(0.01)
    await connected(served, 1)
    look(served, 62)
    await connected(served, 0)


async def test_first_look_at_a_slow_reader_is_not_the_last(serve: Serve, dial: Dial) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.respond(200, [], bytes(16 << 20))

    served = await serve(handler)
    peer = await dial(served)
    await peer.send(get())
    await wait_for(lambda: any(not connection.writable for connection in served.server.connections), "it is paused")
    look(served, 0)
    assert len((await peer.reply()).body) == 16 << 20


async def test_slow_reader_whose_backlog_grows_is_not_cut(serve: Serve, dial: Dial) -> None:
    """It takes less than is written, but it does take."""
    exchanges: list[Exchange] = []

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, EVENT_STREAM)
        exchange.write(bytes(8 << 20))
        exchanges.append(exchange)
        await asyncio.Event().wait()

    served = await serve(handler)
    peer = await Peer.connect(served.address, receive_buffer=1 << 16)
    await peer.send(get())
    await wait_for(lambda: bool(exchanges), "the request runs")
    [connection] = served.server.connections
    for second in range(0, 200, 20):
        look(served, second)
        before = connection._transport.get_write_buffer_size()
        await peer.reader.readexactly(1 << 20)
        exchanges[0].write(bytes(2 << 20))
        assert connection._transport.get_write_buffer_size() > before
    assert served.server.connections
    peer.close()

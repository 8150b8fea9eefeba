"""All connections of a server: their number, its end, and one slow client among many."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest

from headrace.wire.exchange import EVENT_STREAM, Exchange
from headrace.wire.routes import Routes
from headrace.wire.server import Server
from tests.wire.conftest import Dial, Serve
from tests.wire.messages import code, echo, get, post
from tests.wire.peer import PATIENCE, Peer, wait_for


async def test_address_that_is_taken_is_an_error() -> None:
    """Two programs may bind the same port as long as neither listens."""
    first, second = socket.socket(), socket.socket()
    for listener in (first, second):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    first.bind(("127.0.0.1", 0))
    second.bind(first.getsockname())
    server, late = Server(Routes()), Server(Routes())
    await server.start(first)
    with pytest.raises(OSError, match="in use"):
        await late.start(second)
    await late.close()
    await server.close()
    second.close()


async def test_answers_carry_the_date(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    await peer.send(get())
    date = (await peer.reply()).headers["date"]
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", date)


# ---- too many ----


async def test_connections_beyond_the_limit_are_told_so(serve: Serve, dial: Dial) -> None:
    served = await serve(echo, connections=16)
    peers = [await dial(served) for _ in range(16)]
    await wait_for(lambda: len(served.server.connections) == 16, "they are connected")
    refused = await dial(served)
    reply = await refused.reply()
    assert (reply.status, code(reply), reply.headers["retry-after"]) == (503, "overloaded", "1")
    for peer in peers:
        await peer.send(get())
        assert (await peer.reply()).status == 200
    peers[0].reset()
    refused.close()
    await wait_for(lambda: len(served.server.connections) == 15, "one left")
    peer = await dial(served)
    await peer.send(get())
    assert (await peer.reply()).status == 200


async def test_connections_far_beyond_the_limit_are_cut(serve: Serve, dial: Dial) -> None:
    served = await serve(echo, connections=16)
    peers = [await dial(served) for _ in range(40)]
    ends = await asyncio.gather(*(peer.rest() for peer in peers[16:]))
    assert sum(b"503" in end for end in ends) == 2
    assert sum(end == b"" for end in ends) == 22


async def test_hundreds_of_slow_clients_do_not_slow_others(serve: Serve, dial: Dial) -> None:
    """They send a head byte by byte, and are told when their time is over; meanwhile everybody else is served."""
    served = await serve(echo, head_timeout=1.5)
    slow = [await dial(served) for _ in range(300)]
    ends = [asyncio.create_task(peer.rest()) for peer in slow]
    quick = await dial(served)
    answered, head = 0, b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 10_000
    while not all(end.done() for end in ends):
        for peer in slow:
            if not peer.writer.is_closing():
                peer.writer.write(head[answered : answered + 1])
        await quick.send(post(b"quick"))
        assert (await asyncio.wait_for(quick.reply(), PATIENCE)).status == 200
        answered += 1
        await asyncio.sleep(0.05)
    assert answered > 10
    assert {end.result().split(b"\r\n")[0] for end in ends} == {b"HTTP/1.1 408 Request Timeout"}


# ---- the end ----


async def test_drain_of_an_idle_server(serve: Serve, dial: Dial) -> None:
    served = await serve(echo)
    assert await served.server.drain(PATIENCE)
    with pytest.raises(ConnectionRefusedError):
        await dial(served)


async def test_drain_finishes_what_runs_and_closes_the_rest(serve: Serve, dial: Dial) -> None:
    go = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await go.wait()
        await echo(exchange)

    served = await serve(handler)
    idle, running, reading = [await dial(served) for _ in range(3)]
    await running.send(get("/running"))
    await reading.send(post(b"half")[:-2])
    await wait_for(lambda: served.server.active == 1, "one runs")
    await wait_for(lambda: len(served.server.connections) == 3, "three are connected")
    draining = asyncio.create_task(served.server.drain(PATIENCE))
    assert await idle.rest() == b""
    await reading.send(b"lf")
    await wait_for(lambda: served.server.active == 2, "the request that was on its way runs too")
    assert not draining.done()
    go.set()
    for peer in (running, reading):
        reply = await peer.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await peer.rest() == b""
    assert await draining


async def test_request_that_crosses_the_drain_is_served(serve: Serve, dial: Dial) -> None:
    served = await serve(echo)
    used, fresh = await dial(served), await dial(served)
    await used.send(get())
    await used.reply()
    await wait_for(lambda: len(served.server.connections) == 2, "both are connected")
    draining = asyncio.create_task(served.server.drain(PATIENCE))
    await asyncio.sleep(0)
    for peer in (used, fresh):
        await peer.send(get("/late"))
        reply = await peer.reply()
        assert (reply.body, reply.headers["connection"]) == (b"GET /late ?  ", "close")
    assert await draining


async def test_stream_that_began_before_the_drain_is_finished(serve: Serve, dial: Dial) -> None:
    go = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, EVENT_STREAM)
        exchange.write(b"data: 1\n\n")
        await go.wait()
        exchange.write(b"data: 2\n\n")
        exchange.finish()

    served = await serve(handler)
    peer = await dial(served)
    await peer.send(get() + get())
    await peer.until(b"data: 1\n\n\r\n")
    draining = asyncio.create_task(served.server.drain(PATIENCE))
    await asyncio.sleep(0.3)
    go.set()
    assert await peer.rest() == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"
    assert await draining


async def test_drain_gives_up_after_its_time(serve: Serve, dial: Dial) -> None:
    ended = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            ended.set()

    served = await serve(handler)
    peer = await dial(served)
    await peer.send(get())
    await wait_for(lambda: served.server.active == 1, "it runs")
    assert not await served.server.drain(0.05)
    assert not ended.is_set()
    await served.server.close()
    assert ended.is_set(), "closing waits for the handlers"
    assert await peer.rest() == b""


async def test_drain_does_not_lose_an_answer_that_the_client_reads_slowly(serve: Serve) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.respond(200, [], bytes(20 << 20))

    served = await serve(handler)
    peer = await Peer.connect(served.address, receive_buffer=1 << 16)
    await peer.send(get())
    await wait_for(lambda: served.server.active == 1, "its answer waits")
    draining = asyncio.create_task(served.server.drain(PATIENCE))
    await asyncio.sleep(0.3)
    assert len((await peer.reply()).body) == 20 << 20
    assert await draining
    peer.close()


async def test_close_ends_everything_at_once(serve: Serve, dial: Dial) -> None:
    async def handler(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    served = await serve(handler)
    peers = [await dial(served) for _ in range(5)]
    for peer in peers[1:]:
        await peer.send(get())
    await wait_for(lambda: served.server.active == 4, "they run")
    await served.server.close()
    for peer in peers:
        assert await peer.rest() == b""
    assert not served.server.connections

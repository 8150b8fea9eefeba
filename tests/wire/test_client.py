"""Kept-alive connections to an origin: reuse, losses, addresses, and nothing that leaks."""

from __future__ import annotations

import asyncio
import time

import pytest

from headrace.errors import (
    ConfigError,
    ConnectError,
    ConnectionLost,
    UpstreamTimeout,
)
from headrace.wire.client import Origin
from headrace.wire.limits import ClientLimits
from tests.wire.conftest import Upstreams
from tests.wire.origins import OK, REQUEST, Collector, answering, asked, connected, counts
from tests.wire.peer import PATIENCE, Peer, free_port, wait_for

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

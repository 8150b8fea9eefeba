"""One request and its whole answer, in time or not at all."""

from __future__ import annotations

import asyncio

import pytest

from headrace.errors import (
    ConnectionLost,
    ProtocolError,
    UpstreamTimeout,
)
from headrace.wire.client import Origin, fetch
from tests.wire.conftest import Upstreams
from tests.wire.origins import OK, answering, counts
from tests.wire.peer import PATIENCE, Peer, wait_for


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

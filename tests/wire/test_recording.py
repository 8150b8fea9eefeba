"""What was sent can be sent again."""

from __future__ import annotations

import pytest

from headrace.wire.exchange import EVENT_STREAM, Exchange
from headrace.wire.recording import Recorded, Recording
from tests.wire.conftest import Dial, Serve

JSON = (b"content-type", b"application/json")


async def record(serve: Serve, dial: Dial, write: object, limit: int = 1000) -> tuple[Recorded | None, bytes]:
    """What ``write`` sends, recorded, and what came of it."""
    recordings: list[Recording] = []

    async def handler(exchange: Exchange) -> None:
        recordings.append(Recording(limit))
        exchange.record(recordings[0])
        write(exchange)  # type: ignore[operator]

    peer = await dial(await serve(handler))
    await peer.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    reply = await peer.reply()
    assert reply.status == 200
    return recordings[0].answer(), reply.body


def whole(exchange: Exchange) -> None:
    exchange.lines = b"x-mine: 1\r\n"
    exchange.respond(200, [JSON], b'{"a":1}')


def stream(exchange: Exchange) -> None:
    exchange.start(200, EVENT_STREAM)
    exchange.write(b"data: 1\n\n")
    exchange.write_framed(b"9\r\ndata: 2\n\n\r\n", b"data: 2\n\n")
    exchange.finish()


async def test_whole_answer_is_recorded(serve: Serve, dial: Dial) -> None:
    found, body = await record(serve, dial, whole)
    assert found == Recorded(200, b"application/json", body)


async def test_stream_is_recorded_without_its_framing(serve: Serve, dial: Dial) -> None:
    found, body = await record(serve, dial, stream)
    assert found == Recorded(200, EVENT_STREAM[0][1], body)
    assert body == b"data: 1\n\ndata: 2\n\n"


async def test_what_is_too_large_is_passed_on_and_not_kept(serve: Serve, dial: Dial) -> None:
    found, body = await record(serve, dial, lambda exchange: exchange.respond(200, [JSON], bytes(2000)))
    assert found is None
    assert body == bytes(2000)


@pytest.mark.parametrize("write", [whole, stream])
async def test_replay_looks_the_same(serve: Serve, dial: Dial, write: object) -> None:
    found, body = await record(serve, dial, write)
    assert found is not None

    async def handler(exchange: Exchange) -> None:
        found.replay(exchange, (b"x-more", b"1"))

    peer = await dial(await serve(handler))
    await peer.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    reply = await peer.reply()
    assert (reply.status, reply.body, reply.headers["x-more"]) == (200, body, "1")
    assert reply.headers["content-type"].encode() == found.content_type
    assert ("transfer-encoding" in reply.headers) == (write is stream)

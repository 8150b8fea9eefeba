"""What is written to a client, by what a handler calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from headrace.errors import NotFound
from headrace.wire.exchange import EVENT_STREAM
from headrace.wire.recording import Recording
from tests.wire.desk import Desk

TEXT = [(b"content-type", b"text/plain")]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    one = Desk()
    yield one
    one.close()
    await asyncio.sleep(0)


async def test_whole_answer(desk: Desk) -> None:
    exchange = await desk.open()
    exchange.lines = b"x-more: 1\r\n"
    exchange.respond(200, TEXT, b"body")
    assert desk.head == ["HTTP/1.1 200 OK", "x-more: 1", "content-type: text/plain", "content-length: 4"]
    assert (desk.body, exchange.bytes_sent, exchange.finished, exchange.status) == (b"body", 4, True, 200)


async def test_head_request_gets_the_length_and_no_body(desk: Desk) -> None:
    (await desk.open("HEAD")).respond(200, [], b"body")
    assert (desk.head[-1], desk.body) == ("content-length: 4", b"")


async def test_answer_without_content_has_no_length(desk: Desk) -> None:
    (await desk.open()).respond(204, [], b"")
    assert desk.head == ["HTTP/1.1 204 No Content"]


async def test_last_answer_of_a_connection_says_so(desk: Desk) -> None:
    (await desk.open("GET", "1.1", "Connection: close")).respond(200, [], b"")
    assert "connection: close" in desk.head
    assert desk.transport.is_closing()


async def test_answer_in_pieces_is_chunked(desk: Desk) -> None:
    exchange = await desk.open()
    exchange.start(200, EVENT_STREAM)
    assert exchange.streaming_events
    exchange.write(b"one")
    exchange.write(b"")
    exchange.write_framed(b"3\r\ntwo\r\n", b"two")
    exchange.finish()
    assert desk.body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert exchange.bytes_sent == 6
    assert not desk.transport.is_closing()


async def test_old_client_gets_no_chunks(desk: Desk) -> None:
    exchange = await desk.open("GET", "1.0", "Connection: keep-alive")
    exchange.start(200, TEXT)
    assert not exchange.streaming_events
    exchange.write(b"one")
    exchange.write_framed(b"3\r\ntwo\r\n", b"two")
    exchange.finish()
    assert desk.body == b"onetwo"
    assert desk.transport.is_closing()


async def test_pieces_of_a_head_request_go_nowhere(desk: Desk) -> None:
    exchange = await desk.open("HEAD")
    exchange.start(200, TEXT)
    exchange.write(b"one")
    exchange.finish()
    assert desk.body == b""


async def test_answer_begins_and_ends_once(desk: Desk) -> None:
    exchange = await desk.open()
    with pytest.raises(RuntimeError, match="can be finished"):
        exchange.finish()
    exchange.start(200, TEXT)
    with pytest.raises(RuntimeError, match="started twice"):
        exchange.respond(200, TEXT, b"")
    exchange.finish()
    with pytest.raises(RuntimeError, match="can be finished"):
        exchange.finish()


async def test_error_before_an_answer_is_one(desk: Desk) -> None:
    exchange = await desk.open()
    exchange.fail(NotFound("not here"))
    assert desk.head[0] == "HTTP/1.1 404 Not Found"
    exchange.fail(NotFound("again"))
    assert desk.written.count(b"HTTP/1.1") == 1


async def test_error_in_mid_answer_cuts_the_connection(desk: Desk) -> None:
    exchange = await desk.open()
    exchange.start(200, TEXT)
    exchange.fail(NotFound("too late"))
    assert desk.transport.is_closing()
    assert b"too late" not in desk.written


async def test_nothing_is_written_to_a_client_that_is_gone(desk: Desk) -> None:
    exchange = await desk.open()
    exchange.start(200, TEXT)
    exchange.disconnect()
    exchange.write(b"one")
    exchange.finish()
    assert desk.body == b""


async def test_end_of_a_whole_answer_is_held_back_until_it_is_released(desk: Desk) -> None:
    exchange = await desk.open()
    exchange.record(Recording(1000), hold=True)
    exchange.respond(200, TEXT, b"body")
    assert (desk.written, exchange.finished) == (b"", True)
    exchange.release()
    assert desk.body == b"body"


async def test_end_of_a_stream_is_held_back_and_its_recordings_see_it(desk: Desk) -> None:
    exchange = await desk.open()
    outer = Recording(1000)
    exchange.record(Recording(1000), hold=True)
    exchange.record(outer)
    exchange.start(200, EVENT_STREAM)
    exchange.write(b"one")
    exchange.finish(b"two")
    assert desk.body == b"3\r\none\r\n"
    found = outer.answer()
    assert found is not None
    assert found.body == b"onetwo"
    exchange.release()
    assert desk.body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_next_request_waits_for_the_end_that_is_held_back(desk: Desk) -> None:
    exchange = await desk.open()
    exchange.record(Recording(1000), hold=True)
    exchange.respond(200, TEXT, b"one")
    desk.connection.data_received(b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0)
    assert desk.connection.exchange is exchange
    exchange.release()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    following = desk.connection.exchange
    assert following is not None
    assert following.request.path == "/next"


async def test_what_comes_after_a_release_is_not_held_back(desk: Desk) -> None:
    exchange = await desk.open()
    exchange.record(Recording(1000), hold=True)
    exchange.release()  # its handler failed before it answered
    exchange.respond(200, TEXT, b"body")
    assert desk.body == b"body"


async def test_drain_does_not_forget_a_connection_whose_answer_is_held_back(desk: Desk) -> None:
    exchange = await desk.open()
    exchange.record(Recording(1000), hold=True)
    exchange.respond(200, TEXT, b"body")
    desk.server.draining = True
    desk.connection.end_if_idle()
    exchange.release()
    assert desk.body == b"body"
    assert desk.transport.is_closing()

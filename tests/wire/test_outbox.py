from __future__ import annotations

import asyncio

import pytest

from headrace.wire import outbox as module
from headrace.wire.exchange import Exchange
from headrace.wire.outbox import Outbox, Outlet
from tests.wire.desk import Desk
from tests.wire.transport import FakeTransport


async def test_what_a_turn_writes_goes_out_at_its_end_in_order() -> None:
    outbox, one, two = Outbox(), FakeTransport(), FakeTransport()
    Outlet(outbox, one).write(b"a")
    Outlet(outbox, two).write(b"x")
    Outlet(outbox, one).write(b"b")
    assert one.written == two.written == b""
    await asyncio.sleep(0)
    assert (one.written, two.written) == (b"ab", b"x")


async def test_the_next_turn_is_sent_too() -> None:
    outbox, transport = Outbox(), FakeTransport()
    for _ in range(3):
        outbox.write(transport, b"a")
        await asyncio.sleep(0)
    assert transport.written == b"aaa"


async def test_what_must_be_first_is_done_once_and_before_anything_is_sent() -> None:
    outbox, transport = Outbox(), FakeTransport()
    seen: list[bytes] = []

    def first() -> None:
        seen.append(transport.written)

    outbox.write(transport, b"answer")
    outbox.first(first)
    outbox.first(first)
    await asyncio.sleep(0)
    assert (seen, transport.written) == ([b""], b"answer")


async def test_what_must_be_first_is_done_where_nothing_is_sent() -> None:
    outbox = Outbox()
    seen: list[int] = []
    outbox.first(lambda: seen.append(1))
    await asyncio.sleep(0)
    assert seen == [1]


async def test_a_connection_that_closed_meanwhile_is_not_written_to() -> None:
    outbox, gone, there = Outbox(), FakeTransport(), FakeTransport()
    outbox.write(gone, b"a")
    outbox.write(there, b"b")
    gone._closing = gone.lost = True
    await asyncio.sleep(0)
    assert (gone.written, there.written) == (b"", b"b")


async def test_a_writer_without_end_is_not_kept_waiting() -> None:
    outbox, transport = Outbox(), FakeTransport()
    for _ in range(3):
        outbox.write(transport, bytes(module._LARGEST // 2))
    assert len(transport.written) > module._LARGEST


async def test_many_peers_are_not_kept_waiting() -> None:
    outbox = Outbox()
    transports = [FakeTransport() for _ in range(module._MOST)]
    for transport in transports:
        outbox.write(transport, b"a")
    assert all(transport.written == b"a" for transport in transports)


async def test_a_client_that_has_not_read_its_answer_waits_with_its_next_request() -> None:
    desk = Desk()
    exchange = await desk.open()
    desk._jobs.put_nowait(_answer)
    while not exchange.finished:
        await asyncio.sleep(0)
    desk.connection.pause_writing()
    second = asyncio.ensure_future(desk.open())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not second.done()
    desk.connection.resume_writing()
    assert not (await second).started
    desk.close()


async def _answer(exchange: Exchange) -> None:
    exchange.respond(200, [], b"")


@pytest.mark.parametrize("how", ["cut", "drain"])
async def test_what_was_written_goes_out_before(how: str) -> None:
    desk = Desk()
    exchange = await desk.open()
    exchange.start(200, [])
    exchange.write(b"piece")
    if how == "cut":
        exchange.abort()
    else:
        await exchange.drain()
    assert b"piece" in desk.transport.written
    desk.close()

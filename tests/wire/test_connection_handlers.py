"""Handlers over a real socket: their errors, and clients that go away meanwhile."""

from __future__ import annotations

import asyncio
import logging

import pytest

from headrace.errors import InvalidRequest, RateLimited
from headrace.wire.exchange import EVENT_STREAM, Exchange
from tests.wire.conftest import Dial, Serve
from tests.wire.messages import TEXT, code, echo, get
from tests.wire.peer import PATIENCE, wait_for

# ---- handlers ----


async def test_error_of_the_api_becomes_its_json(serve: Serve, dial: Dial) -> None:
    async def handler(exchange: Exchange) -> None:
        raise RateLimited("Slow down.", retry_after=1.2)

    peer = await dial(await serve(handler))
    await peer.send(get())
    reply = await peer.reply()
    assert (reply.status, code(reply), reply.headers["retry-after"]) == (429, "rate_limit_exceeded", "2")
    await peer.send(get())
    assert (await peer.reply()).status == 429


async def test_defect_in_a_handler_is_a_500_and_a_log_line(
    serve: Serve, dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(exchange: Exchange) -> None:
        raise KeyError("secret detail")

    served = await serve(handler)
    peer = await dial(served)
    await peer.send(get("/broken"))
    reply = await peer.reply()
    assert (reply.status, code(reply)) == (500, "internal_error")
    assert b"secret detail" not in reply.body
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.__dict__["path"] == "/broken"
    assert record.exc_info is not None
    assert served.server.active == 0


async def test_handler_that_does_not_finish_is_a_500(
    serve: Serve, dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(exchange: Exchange) -> None:
        pass

    peer = await dial(await serve(handler))
    await peer.send(get("/lazy"))
    assert (await peer.reply()).status == 500
    assert "did not finish" in caplog.text


async def test_error_after_the_answer_began_cuts_the_connection(serve: Serve, dial: Dial) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.start(200, TEXT)
        exchange.write(b"half")
        raise InvalidRequest("too late")

    peer = await dial(await serve(handler))
    await peer.send(get())
    data = await peer.rest()
    assert data.endswith(b"4\r\nhalf\r\n")


async def test_error_after_the_answer_is_complete_changes_nothing(
    serve: Serve, dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(exchange: Exchange) -> None:
        await echo(exchange)
        raise ValueError("in the bookkeeping")

    peer = await dial(await serve(handler))
    for _ in range(2):
        await peer.send(get())
        assert (await peer.reply()).status == 200
    assert "in the bookkeeping" in caplog.text


# ---- clients that go away ----


@pytest.mark.parametrize("way", ["close", "reset", "half_close"])
@pytest.mark.parametrize("state", ["waiting", "streaming", "paused"])
async def test_handler_is_cancelled_when_the_client_goes(serve: Serve, dial: Dial, way: str, state: str) -> None:
    cancelled = asyncio.Event()
    cleaned = asyncio.Event()
    paused = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        try:
            if state != "waiting":
                exchange.start(200, EVENT_STREAM)
                exchange.write(b"data: 1\n\n")
            if state == "paused":
                while exchange.writable:
                    exchange.write(bytes(1 << 16))
                paused.set()
                await exchange.drain()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            await asyncio.sleep(0.01)  # cleaning up may take turns of the loop, and is not interrupted
            cleaned.set()
            raise

    served = await serve(handler)
    peer = await dial(served)
    await peer.send(get())
    if state == "streaming":
        await peer.until(b"data: 1\n\n")
    elif state == "paused":
        await asyncio.wait_for(paused.wait(), PATIENCE)
    else:
        await wait_for(lambda: served.server.active == 1, "the request runs")
    getattr(peer, way)()
    await asyncio.wait_for(cancelled.wait(), PATIENCE)
    await asyncio.wait_for(cleaned.wait(), PATIENCE)
    peer.close()
    peer.writer.transport.abort()
    await wait_for(lambda: not served.server.connections, "the connection is gone")


async def test_writing_to_a_client_that_is_gone_is_nothing(
    serve: Serve, dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    done = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, EVENT_STREAM)
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(10):
                exchange.write(b"data: late\n\n")
                await asyncio.sleep(0)
            await exchange.drain()
            exchange.finish()
            done.set()

    served = await serve(handler)
    peer = await dial(served)
    await peer.send(get())
    await peer.until(b"\r\n\r\n")
    peer.reset()
    await asyncio.wait_for(done.wait(), PATIENCE)
    await wait_for(lambda: not served.server.connections, "the connection is gone")
    assert not caplog.records


async def test_requests_that_wait_behind_a_client_that_goes_are_not_begun(serve: Serve, dial: Dial) -> None:
    begun: list[str] = []

    async def handler(exchange: Exchange) -> None:
        begun.append(exchange.request.path)
        await asyncio.Event().wait()

    served = await serve(handler)
    peer = await dial(served)
    await peer.send(get("/1") + get("/2"))
    await wait_for(lambda: begun == ["/1"], "the first runs")
    peer.reset()
    await wait_for(lambda: not served.server.connections, "the connection is gone")
    assert begun == ["/1"]

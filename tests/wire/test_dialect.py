"""A client that is spoken to in another form than OpenAI's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from headrace.errors import ApiError, BadGateway, InvalidRequest, ProtocolError, WireError
from headrace.wire.client import Origin
from headrace.wire.dialect import Dialect
from headrace.wire.exchange import EVENT_STREAM, Exchange
from headrace.wire.relay import HELD_BYTES, WHOLE_BYTES, Relay, end_broken
from tests.wire.conftest import Dial, Serve, Upstreams
from tests.wire.messages import post
from tests.wire.peer import Peer, wait_for

REQUEST = b"POST / HTTP/1.1\r\nhost: u\r\ncontent-length: 0\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Loud(Dialect):
    heartbeat = b"event: ping\n\n"

    def error(self, error: ApiError) -> bytes:
        return b"LOUD " + error.message.encode()

    def broken(self, error: ApiError) -> bytes:
        return b"data: LOUD %b\n\n" % error.message.encode()


class Carrier:
    """A handler that relays one answer to a client that is spoken to loudly."""

    def __init__(self, url: str, on_events: Callable[[bytes], bytes] | None = None, *, whole: bool = False) -> None:
        self.origin = Origin(url)
        self.relay: Relay | None = None
        self.body = b""
        self._on_events = on_events
        self._whole = whole

    async def __call__(self, exchange: Exchange) -> None:
        exchange.dialect = Loud()
        self.relay = Relay(exchange, lambda head: EVENT_STREAM, self._on_events, whole=self._whole)
        connection = await self.origin.connect()
        try:
            answer = await self.relay.begin(connection, REQUEST)
        except WireError as error:
            failure = BadGateway(str(error))
            if not exchange.started:
                raise failure from None
            end_broken(exchange, failure)
            return
        finally:
            self.relay.end()
            self.origin.close()
        if answer is None:
            exchange.finish()
        else:
            self.body = answer.body
            exchange.respond(200, [], b"")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_errors_take_the_form_of_the_dialect(serve: Serve, dial: Dial) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.dialect = Loud()
        raise InvalidRequest("no")

    peer = await dial(await serve(handler))
    await peer.send(post(b""))
    reply = await peer.reply()
    assert (reply.status, reply.body) == (400, b"LOUD no")


async def test_heartbeat_is_the_dialects(serve: Serve, dial: Dial, upstream: Upstreams) -> None:
    silent = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await peer.send(STREAM_HEAD + chunk(b"data: 1\n\n"))
        await silent.wait()
        await peer.send(chunk(b"data: [DONE]\n\n") + chunk(b""))

    carrier = Carrier((await upstream(script)).url)
    peer = await dial(await serve(carrier))
    await peer.send(post(b""))
    await wait_for(lambda: carrier.relay is not None and carrier.relay.first_event > 0, "the stream began")
    assert carrier.relay is not None
    carrier.relay.beat(time.monotonic() + 20, 15)
    silent.set()
    assert (await peer.reply()).body == b"data: 1\n\nevent: ping\n\ndata: [DONE]\n\n"


async def test_events_that_make_no_sense_break_the_stream(serve: Serve, dial: Dial, upstream: Upstreams) -> None:
    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await peer.send(STREAM_HEAD, chunk(b"data: 1\n\n"), chunk(b"data: nonsense\n\n"), chunk(b"data: 2\n\n"))
        await peer.rest()

    def read(events: bytes) -> bytes:
        if b"nonsense" in events:
            raise ProtocolError("what?")
        return events.upper()

    peer = await dial(await serve(Carrier((await upstream(script)).url, read)))
    await peer.send(post(b""))
    assert (await peer.reply()).body == b"DATA: 1\n\ndata: LOUD what?\n\n"


async def test_whole_answer_is_held_beyond_what_is_passed_on_in_pieces(
    serve: Serve, dial: Dial, upstream: Upstreams
) -> None:
    body = b"x" * (HELD_BYTES + 1)

    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    carrier = Carrier((await upstream(script)).url, whole=True)
    peer = await dial(await serve(carrier))
    await peer.send(post(b""))
    assert (await peer.reply()).status == 200
    assert carrier.body == body


async def test_whole_answer_has_a_bound(serve: Serve, dial: Dial, upstream: Upstreams) -> None:
    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (WHOLE_BYTES + 1))
        await peer.send(b"x" * (WHOLE_BYTES + 1))

    peer = await dial(await serve(Carrier((await upstream(script)).url, whole=True)))
    await peer.send(post(b""))
    reply = await peer.reply()
    assert reply.status == 502
    assert reply.body.startswith(b"LOUD the answer is larger")

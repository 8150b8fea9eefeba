"""Origins to ask, a sink that remembers, and what an origin holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from headrace.errors import (
    WireError,
)
from headrace.wire.client import Origin
from headrace.wire.response import Answer, ResponseHead
from headrace.wire.upstream import Connection
from tests.wire.peer import PATIENCE, Peer
from tests.wire.transport import FakeTransport

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
REQUEST = b"GET / HTTP/1.1\r\nhost: u\r\n\r\n"


class Collector:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.body = b""
        self.ended = 0
        self.lost: list[WireError] = []
        self.over = asyncio.Event()

    def on_head(self, head: ResponseHead) -> None:
        assert self.head is None
        self.head = head

    def on_data(self, payload: bytes, framed: bytes | None) -> None:
        assert payload
        assert not self.over.is_set()
        if framed is not None:
            size, _, rest = framed.partition(b"\r\n")
            assert (int(size, 16), rest) == (len(payload), payload + b"\r\n")
        self.body += payload

    def on_end(self) -> None:
        self.ended += 1
        self.over.set()

    def on_answer(self, answer: Answer) -> None:
        self.on_head(answer.head)
        if answer.body:
            self.on_data(answer.body, None)
        self.on_end()

    def on_lost(self, error: WireError) -> None:
        self.lost.append(error)
        self.over.set()


def answering(*answers: bytes) -> Callable[[Peer], Awaitable[None]]:
    """A script that answers each request with the next of ``answers``, and then closes."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.until(b"\r\n\r\n")
            await peer.send(answer)

    return script


async def asked(origin: Origin) -> Collector:
    """One request on a connection of ``origin``, and what became of it."""
    sink = Collector()
    connection = await origin.acquire()
    connection.send(REQUEST, sink)
    await asyncio.wait_for(sink.over.wait(), PATIENCE)
    return sink


def counts(origin: Origin) -> tuple[int, int]:
    """Open connections, and idle ones among them."""
    return len(origin._all), len(origin._idle)


def connected(origin: Origin) -> tuple[Connection, FakeTransport]:
    connection, transport = Connection(origin, float("inf")), FakeTransport()
    transport.serve(connection)
    return connection, transport

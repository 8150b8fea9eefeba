"""An exchange on a transport that keeps what is written, and an upstream that does nothing by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from headrace.wire.connection import ServerConnection
from headrace.wire.exchange import Exchange
from headrace.wire.response import FieldLines, ResponseHead
from headrace.wire.routes import Routes
from headrace.wire.server import Server
from headrace.wire.upstream import Connection, Sink
from tests.wire.transport import FakeTransport


class Desk:
    """One client's connection; its handler hands the exchange out and answers when the test says so."""

    def __init__(self) -> None:
        self.server = Server(Routes(fallback=self._handle))
        self.transport = FakeTransport()
        self.connection = ServerConnection(self.server, asyncio.get_running_loop())
        self.transport.serve(self.connection)
        self._exchanges: asyncio.Queue[Exchange] = asyncio.Queue()
        self._jobs: asyncio.Queue[Callable[[Exchange], Awaitable[None]]] = asyncio.Queue()

    async def _handle(self, exchange: Exchange) -> None:
        self._exchanges.put_nowait(exchange)
        await (await self._jobs.get())(exchange)

    async def open(self, method: str = "GET", version: str = "1.1", *fields: str) -> Exchange:
        """The exchange of a request that came."""
        lines = "".join(f"{field}\r\n" for field in ("Host: x", *fields))
        self.connection.data_received(f"{method} / HTTP/{version}\r\n{lines}\r\n".encode())
        return await self._exchanges.get()

    def close(self) -> None:
        self.transport.lose()

    @property
    def written(self) -> bytes:
        """What was sent, also what still waits for the end of the turn."""
        self.server.outbox.flush()
        return self.transport.written

    @property
    def head(self) -> list[str]:
        """Status line and fields that were written, but for the date."""
        lines = self.written.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        return [line for line in lines if not line.startswith("date: ")]

    @property
    def body(self) -> bytes:
        return self.written.partition(b"\r\n\r\n")[2]


class Upstream:
    """In place of a ``Connection``: what was asked of it, and the sink to answer to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.sink: Sink

    @property
    def connection(self) -> Connection:
        return cast(Connection, self)

    def send(self, data: bytes, sink: Sink) -> None:
        self.calls.append("send")
        self.sink = sink

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def let_go(self) -> None:
        self.calls.append("let go")

    def abort(self) -> None:
        self.calls.append("abort")


def head(*fields: str, status: int = 200) -> ResponseHead:
    return ResponseHead("\r\n".join((f"HTTP/1.1 {status} X", *fields)).encode(), FieldLines())


STREAM = head("content-type: text/event-stream", "transfer-encoding: chunked")

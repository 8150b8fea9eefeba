"""Hands an exchange to an ASGI application, for the paths that are not hot.

https://asgi.readthedocs.io/en/latest/specs/www.html (3.0, HTTP only). The request's body is complete and within the
server's limit before the handler runs; the answer is written as it comes, no faster than the client takes it. A client
that leaves cancels the application.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from headrace.wire.exchange import Exchange

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date"})
"""What the server itself says of an answer."""


async def serve(app: Application, exchange: Exchange, state: dict[str, Any]) -> None:
    """Answer with ``app``, which finds ``state`` in its scope."""
    request = exchange.request
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote(request.path),
        "raw_path": request.path.encode("latin-1"),
        "query_string": request.query,
        "root_path": "",
        "headers": list(request.headers.items()),
        "client": (request.peer, 0) if request.peer else None,
        "server": None,
        "state": state,
    }
    answer = _Answer(exchange)
    await app(scope, _Receiver(request.body), answer.send)
    if not exchange.finished:
        raise RuntimeError(f"the application did not finish its answer to {request.path}")


class _Receiver:
    """The body in one piece; after it nothing comes until the task is cancelled."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    async def __call__(self) -> Message:
        if self._body is None:
            await asyncio.Event().wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Answer:
    """An answer in one piece is sent with its length, any other in chunks."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [
                (name.lower(), value) for name, value in message.get("headers", ()) if name.lower() not in _FRAMING
            ]
            return
        exchange, body, more = self._exchange, message.get("body", b""), message.get("more_body", False)
        if not exchange.started and not more:
            exchange.respond(self._status, self._headers, body)
            return
        if not exchange.started:
            exchange.start(self._status, self._headers)
        exchange.write(body)
        if more:
            await exchange.drain()
        else:
            exchange.finish()

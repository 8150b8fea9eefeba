"""ASGI applications behind the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from headrace.wire import asgi
from headrace.wire.exchange import Exchange
from tests.wire.conftest import Dial, Serve
from tests.wire.peer import PATIENCE, Reply

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[asgi.Message]]
Send = Callable[[asgi.Message], Awaitable[None]]

TEXT = [(b"Content-Type", b"text/plain")]


def start(status: int = 200, headers: list[tuple[bytes, bytes]] = TEXT) -> asgi.Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def piece(body: bytes, *, more: bool = False) -> asgi.Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def ask(
    serve: Serve,
    dial: Dial,
    app: asgi.Application,
    request: bytes = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    *,
    method: str = "GET",
) -> Reply:
    async def handler(exchange: Exchange) -> None:
        await asgi.serve(app, exchange, {"who": "tester"})

    peer = await dial(await serve(handler))
    await peer.send(request)
    return await peer.reply(method=method)


def saying(*messages: asgi.Message) -> asgi.Application:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


async def test_scope_tells_the_request(serve: Serve, dial: Dial) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await saying(start(), piece(b""))(scope, receive, send)

    await ask(serve, dial, app, b"GET /a%20b%2Fc?q=%20 HTTP/1.1\r\nHost: x\r\nX-Mine: 1\r\n\r\n")
    [scope] = seen
    assert (scope["type"], scope["method"], scope["scheme"]) == ("http", "GET", "http")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b/c", b"/a%20b%2Fc", b"q=%20")
    assert (b"x-mine", b"1") in scope["headers"]
    assert scope["client"] == ("127.0.0.1", 0)
    assert scope["state"] == {"who": "tester"}


async def test_body_comes_whole(serve: Serve, dial: Dial) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        assert (message["type"], message["more_body"]) == ("http.request", False)
        await saying(start(), piece(message["body"]))(scope, receive, send)

    chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert (await ask(serve, dial, app, chunked, method="POST")).body == b"abcde"


async def test_answer_in_one_piece_has_its_length(serve: Serve, dial: Dial) -> None:
    reply = await ask(serve, dial, saying(start(201), piece(b"body")))
    assert (reply.status, reply.body) == (201, b"body")
    assert (reply.headers["content-length"], reply.headers["content-type"]) == ("4", "text/plain")


async def test_answer_in_pieces_is_chunked(serve: Serve, dial: Dial) -> None:
    reply = await ask(serve, dial, saying(start(), piece(b"one", more=True), piece(b"", more=True), piece(b"two")))
    assert reply.body == b"onetwo"
    assert reply.headers["transfer-encoding"] == "chunked"


async def test_framing_is_the_servers_word(serve: Serve, dial: Dial) -> None:
    lies = [
        (b"Content-Length", b"999"),
        (b"Transfer-Encoding", b"gzip"),
        (b"Connection", b"close"),
        (b"Date", b"never"),
    ]
    reply = await ask(serve, dial, saying(start(headers=[*TEXT, *lies]), piece(b"body")))
    assert (reply.headers["content-length"], reply.body) == ("4", b"body")
    assert not {"transfer-encoding", "connection"} & set(reply.headers)
    assert reply.headers["date"] != "never"


@pytest.mark.parametrize("messages", [(), (start(),), (start(), piece(b""))], ids=["nothing", "head", "whole"])
async def test_application_that_does_not_finish_costs_a_500(
    serve: Serve, dial: Dial, messages: tuple[asgi.Message, ...]
) -> None:
    whole = len(messages) == 2
    assert (await ask(serve, dial, saying(*messages))).status == (200 if whole else 500)


async def test_application_that_fails_costs_a_500(serve: Serve, dial: Dial) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("a defect")

    reply = await ask(serve, dial, app)
    assert reply.status == 500
    assert b"defect" not in reply.body


async def test_application_writes_no_faster_than_its_client_reads(serve: Serve, dial: Dial) -> None:
    written = 0
    done = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal written
        await send(start())
        try:
            for _ in range(1000):
                await send(piece(bytes(1024 * 1024), more=True))
                written += 1
        finally:
            done.set()

    async def handler(exchange: Exchange) -> None:
        await asgi.serve(app, exchange, {})

    peer = await dial(await serve(handler))
    await peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await peer.until(b"\r\n\r\n")
    before = -1
    while before != written:  # until it stands still
        before = written
        await asyncio.sleep(0.2)
    assert written < 500
    peer.close()
    await asyncio.wait_for(done.wait(), PATIENCE)


async def test_client_that_leaves_cancels_the_application(serve: Serve, dial: Dial) -> None:
    waiting, cancelled = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        waiting.set()
        try:
            await receive()  # there is nothing more until the end
        finally:
            cancelled.set()

    async def handler(exchange: Exchange) -> None:
        await asgi.serve(app, exchange, {})

    peer = await dial(await serve(handler))
    await peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.wait_for(waiting.wait(), PATIENCE)
    peer.close()
    await asyncio.wait_for(cancelled.wait(), PATIENCE)

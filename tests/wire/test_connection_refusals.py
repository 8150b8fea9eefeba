"""What is no unambiguous HTTP is refused; what asks for another protocol is answered in this one."""

from __future__ import annotations

import pytest

from headrace.wire.exchange import Exchange
from tests.wire.conftest import Dial, Serve
from tests.wire.messages import code, echo, get, post

POST, GET = (method + b" / HTTP/1.1\r\nHost: x\r\n" for method in (b"POST", b"GET"))
REFUSED = {
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "unequal": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nab",
    "list of lengths": POST + b"Content-Length: 2, 2\r\n\r\nab",
    "negative": POST + b"Content-Length: -1\r\n\r\n",
    "empty length": POST + b"Content-Length:\r\n\r\n",
    "many digits": POST + b"Content-Length: %s1\r\n\r\na" % (b"0" * 5000),
    "CL+TE": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE+CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "unknown coding": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "chunked not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nZ\r\n",
    "chunk too long": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab",
    "chunk with LF": POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
    "obs-fold": GET + b"X-A: 1\r\n folded\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: x\n\n",
    "bare LF behind a field": b"GET / HTTP/1.1\r\nHost: x\nX-A: 1\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: x\rX-A: 1\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\nX-A: 1\r\n\r\n",
    "not ASCII": "GET /中 HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "version": b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
    "method": b"FETCH / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
async def test_what_is_not_unambiguous_http_is_refused(serve: Serve, dial: Dial, data: bytes) -> None:
    handled = []

    async def handler(exchange: Exchange) -> None:
        handled.append(exchange.request)
        await echo(exchange)

    peer = await dial(await serve(handler))
    await peer.send(data)
    reply = await peer.reply()
    assert reply.status == 400
    assert code(reply) in ("bad_http", "invalid_request")
    assert reply.headers["connection"] == "close"
    assert await peer.rest() == b""
    assert not handled


async def test_http_1_0_needs_no_host(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    await peer.send(b"GET / HTTP/1.0\r\n\r\n")
    assert (await peer.reply()).status == 200


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
async def test_upgrade_is_ignored(serve: Serve, dial: Dial, protocol: str) -> None:
    """Java's HttpClient offers h2c with its first request, bodies included."""
    peer = await dial(await serve(echo))
    offer = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}", "HTTP2-Settings: AAMAAABkAAQ")
    await peer.send(post(b"body", *offer) + get("/next", *offer))
    assert (await peer.reply()).body == b"POST /p ?  body"
    assert (await peer.reply()).body == b"GET /next ?  "
    await peer.send(get("/plain"))
    assert (await peer.reply()).body == b"GET /plain ?  "


async def test_upgrade_whose_body_comes_later(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    data = post(b"some body", "Connection: Upgrade", "Upgrade: h2c", "Expect: 100-continue")
    await peer.send(data[:-9])
    assert (await peer.reply()).status == 100
    await peer.send(data[-9:-4], data[-4:])
    assert (await peer.reply()).body == b"POST /p ?  some body"


async def test_upgrade_and_close(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    await peer.send(get("/", "Connection: close, Upgrade", "Upgrade: h2c"))
    assert (await peer.reply()).headers["connection"] == "close"
    assert await peer.rest() == b""


async def test_many_pipelined_upgrades(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    await peer.send(get("/u", "Connection: Upgrade", "Upgrade: h2c") * 2000)
    for _ in range(2000):
        assert (await peer.reply()).status == 200

"""Requests over a real socket: what is parsed, in which order it is answered, and what is refused."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from headrace.errors import InvalidRequest, RateLimited
from headrace.wire.exchange import EVENT_STREAM, Exchange
from headrace.wire.routes import Routes
from tests.wire.conftest import Dial, Serve
from tests.wire.peer import PATIENCE, Reply, wait_for

TEXT = [(b"content-type", b"text/plain")]


async def echo(exchange: Exchange) -> None:
    """Answers with what was understood of the request."""
    request = exchange.request
    line = f"{request.method} {request.path} ? ".encode() + request.query
    exchange.respond(200, TEXT, line + b" " + request.body)


def get(path: str = "/", *fields: str, version: str = "1.1") -> bytes:
    lines = "".join(f"{field}\r\n" for field in ("Host: x", *fields))
    return f"GET {path} HTTP/{version}\r\n{lines}\r\n".encode()


def post(body: bytes, *fields: str, version: str = "1.1") -> bytes:
    lines = "".join(f"{field}\r\n" for field in ("Host: x", f"Content-Length: {len(body)}", *fields))
    return f"POST /p HTTP/{version}\r\n{lines}\r\n".encode() + body


def code(reply: Reply) -> str:
    """The code of an error answer, whose shape is checked."""
    document = json.loads(reply.body)
    assert reply.headers["content-type"] == "application/json"
    assert set(document) == {"error"}
    assert set(document["error"]) == {"message", "type", "param", "code"}
    found = document["error"]["code"]
    assert isinstance(found, str)
    return found


# ---- requests ----


async def test_connection_serves_one_request_after_another(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    for body in (b"one", b"two", b""):
        await peer.send(post(body))
        reply = await peer.reply()
        assert (reply.status, reply.body) == (200, b"POST /p ?  " + body)
        assert "connection" not in reply.headers
        assert reply.headers["date"].endswith("GMT")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11])
async def test_request_may_come_in_any_pieces(serve: Serve, dial: Dial, size: int) -> None:
    peer = await dial(await serve(echo))
    data = post(b"hello", "X-Name: value")
    await peer.send(*(data[start : start + size] for start in range(0, len(data), size)))
    assert (await peer.reply()).body == b"POST /p ?  hello"


async def test_headers_are_lower_case_and_repeated_ones_are_joined(serve: Serve, dial: Dial) -> None:
    seen: list[dict[bytes, bytes]] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange.request.headers)
        exchange.respond(200, TEXT, b"")

    peer = await dial(await serve(handler))
    await peer.send(get("/", "X-One: 1", "x-ONE: 2", "Empty:"))
    await peer.reply()
    assert seen == [{b"host": b"x", b"x-one": b"1, 2", b"empty": b""}]


async def test_path_stays_encoded_and_is_split_from_the_query(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    await peer.send(get("/v1/models/a%2Fb%20c?x=1?y"))
    assert (await peer.reply()).body == b"GET /v1/models/a%2Fb%20c ? x=1?y "


@pytest.mark.parametrize(
    ("target", "understood"),
    [
        ("http://host:80/p/q?r", b"GET /p/q ? r "),
        ("http://host", b"GET / ?  "),
        ("http://host?q=/x", b"GET / ? q=/x "),
        ("*", b"GET * ?  "),
    ],
)
async def test_other_forms_of_the_target(serve: Serve, dial: Dial, target: str, understood: bytes) -> None:
    peer = await dial(await serve(echo))
    await peer.send(get(target) if target != "*" else get(target).replace(b"GET", b"OPTIONS"))
    assert (await peer.reply()).body == understood.replace(b"GET *", b"OPTIONS *")


async def test_chunked_request_body(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    await peer.send(head, b"3\r\nabc\r\n", b"2;ext=1\r\nde\r\n", b"0\r\n\r\n")
    assert (await peer.reply()).body == b"POST /p ?  abcde"
    await peer.send(head + b"1\r\nx\r\n0\r\n\r\n")
    assert (await peer.reply()).body == b"POST /p ?  x"


async def test_trailers_are_not_taken_for_headers(serve: Serve, dial: Dial) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.respond(200, TEXT, exchange.request.headers[b"x-role"])

    peer = await dial(await serve(handler))
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nX-Role: user\r\nTransfer-Encoding: chunked\r\n\r\n"
    await peer.send(head + b"1\r\na\r\n0\r\nX-Role: admin\r\nX-More: 1\r\n\r\n")
    assert (await peer.reply()).body == b"user"


async def test_expect_continue_is_answered_before_the_body(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    head, body = post(b"later", "Expect: 100-Continue").split(b"later")[0], b"later"
    await peer.send(head)
    assert (await peer.reply()).status == 100
    await peer.send(body)
    assert (await peer.reply()).body == b"POST /p ?  later"


async def test_expect_continue_of_http_1_0_is_ignored(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    await peer.send(post(b"x", "Expect: 100-continue", version="1.0"))
    assert (await peer.reply()).status == 200


async def test_body_that_is_too_large_is_refused_instead_of_continued(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo, body=4))
    await peer.send(post(b"12345", "Expect: 100-continue").removesuffix(b"12345"))
    reply = await peer.reply()
    assert (reply.status, code(reply)) == (413, "request_too_large")


# ---- HTTP/1.0, HEAD, close ----


@pytest.mark.parametrize("field", ["Connection: close", "Connection: keep-alive", "X-None: 1"])
async def test_http_1_0_gets_its_answer_and_the_end(serve: Serve, dial: Dial, field: str) -> None:
    peer = await dial(await serve(echo))
    await peer.send(get("/old", field, version="1.0"))
    reply = await peer.reply()
    assert (reply.body, reply.headers["connection"]) == (b"GET /old ?  ", "close")
    assert await peer.rest() == b""


async def test_stream_to_http_1_0_ends_with_the_connection(serve: Serve, dial: Dial) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.start(200, EVENT_STREAM)
        exchange.write(b"data: 1\n\n")
        exchange.write_framed(b"9\r\ndata: 2\n\n\r\n", b"data: 2\n\n")
        exchange.finish()

    peer = await dial(await serve(handler))
    await peer.send(get("/", version="1.0"))
    reply = await peer.reply()
    assert "transfer-encoding" not in reply.headers
    assert reply.body == b"data: 1\n\ndata: 2\n\n"


async def test_connection_close_is_obeyed(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    await peer.send(get("/", "Connection: close"))
    assert (await peer.reply()).headers["connection"] == "close"
    assert await peer.rest() == b""


async def test_head_is_answered_like_get_without_a_body(serve: Serve, dial: Dial) -> None:
    routes = Routes()
    routes.add("GET", "/whole", echo)
    routes.add("GET", "/stream", _stream)
    peer = await dial(await serve(routes=routes))
    await peer.send(get("/whole").replace(b"GET", b"HEAD"))
    reply = await peer.reply(method="HEAD")
    assert (reply.status, reply.headers["content-length"]) == (200, str(len(b"HEAD /whole ?  ")))
    await peer.send(get("/stream").replace(b"GET", b"HEAD"))
    assert (await peer.reply(method="HEAD")).headers["transfer-encoding"] == "chunked"
    await peer.send(get("/whole"))
    assert (await peer.reply()).body == b"GET /whole ?  "


async def _stream(exchange: Exchange) -> None:
    exchange.start(200, EVENT_STREAM)
    exchange.write(b"data: 1\n\n")
    exchange.finish()


# ---- order ----


async def test_pipelined_requests_are_answered_in_order(serve: Serve, dial: Dial) -> None:
    async def handler(exchange: Exchange) -> None:
        await asyncio.sleep(0.02 if exchange.request.path.endswith("0") else 0)
        await echo(exchange)

    peer = await dial(await serve(handler))
    paths = [f"/{number}" for number in range(30)]
    await peer.send(b"".join(get(path) for path in paths))
    assert [(await peer.reply()).body for _ in paths] == [f"GET {path} ?  ".encode() for path in paths]


async def test_bytes_that_come_while_a_request_runs_keep_their_order(serve: Serve, dial: Dial) -> None:
    peer = await dial(await serve(echo))
    data = b"".join(get(f"/{number}") if number % 3 else post(b"%d" % number) for number in range(60))
    await peer.send(*(data[start : start + 37] for start in range(0, len(data), 37)))
    expected = [f"GET /{n} ?  ".encode() if n % 3 else b"POST /p ?  %d" % n for n in range(60)]
    assert [(await peer.reply()).body for _ in expected] == expected


async def test_unknown_path_in_a_pipeline_is_answered_in_its_turn(serve: Serve, dial: Dial) -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.02)
        await echo(exchange)

    routes = Routes()
    routes.add("GET", "/known", slow)
    peer = await dial(await serve(routes=routes))
    await peer.send(get("/known") + get("/unknown") + get("/known"))
    assert [(await peer.reply()).status for _ in range(3)] == [200, 404, 200]


async def test_garbage_behind_requests_is_refused_after_their_answers(serve: Serve, dial: Dial) -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.02)
        await echo(exchange)

    peer = await dial(await serve(slow))
    await peer.send(get("/1") + get("/2") + b"\x00garbage\r\n\r\n")
    assert (await peer.reply()).body == b"GET /1 ?  "
    assert (await peer.reply()).body == b"GET /2 ?  "
    reply = await peer.reply()
    assert (reply.status, reply.headers["connection"]) == (400, "close")


async def test_too_much_behind_a_running_request_closes_the_connection_after_it(serve: Serve, dial: Dial) -> None:
    go = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await go.wait()
        await echo(exchange)

    served = await serve(handler, pipelined=1000)
    peer = await dial(served)
    await peer.send(get("/1"))
    await wait_for(lambda: served.server.active == 1, "the request runs")
    await peer.send(get("/2") * 100)
    await asyncio.sleep(0.05)
    go.set()
    reply = await peer.reply()
    assert (reply.body, reply.headers["connection"]) == (b"GET /1 ?  ", "close")
    assert await peer.rest() == b""


async def test_next_request_waits_until_the_client_has_read_the_answer(serve: Serve, dial: Dial) -> None:
    """A client that pipelines and does not read must not make us hold its answers."""
    begun = 0

    async def handler(exchange: Exchange) -> None:
        nonlocal begun
        begun += 1
        exchange.respond(200, TEXT, bytes(8 << 20))

    peer = await dial(await serve(handler))
    await peer.send(get() * 5)
    await wait_for(lambda: begun == 1, "the first runs")
    await asyncio.sleep(0.1)
    assert begun == 1
    for _ in range(5):
        assert len((await peer.reply()).body) == 8 << 20
    assert begun == 5


# ---- what is refused ----


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

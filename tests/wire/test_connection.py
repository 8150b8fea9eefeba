"""Requests over a real socket: what is parsed, and in which order it is answered."""

from __future__ import annotations

import asyncio

import pytest

from headrace.wire.exchange import EVENT_STREAM, Exchange
from headrace.wire.routes import Routes
from tests.wire.conftest import Dial, Serve
from tests.wire.messages import TEXT, code, echo, get, post
from tests.wire.peer import wait_for

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

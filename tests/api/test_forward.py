"""On to a router, and back: what a client gets when routers answer, break off, or are not there."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest

from headrace.wire.limits import ClientLimits
from headrace.wire.relay import HELD_BYTES
from tests.api.conftest import CHAT, Api, StartApi, StartRouter, chat, error
from tests.fakes import (
    USAGE,
    Behaviour,
    answer,
    chunk,
    completion,
    event,
    held,
    raw,
    refuse,
    silence,
    stream,
    stream_head,
    tokens,
    whole,
)
from tests.wire.peer import wait_for

ROUTE = (("x-headrace-worker", "w:1"), ("x-headrace-queue-ms", "7"), ("x-headrace-attempts", "2"))
PLAIN = b"".join(tokens(3, usage=False))
LOST = b'data: {"error":{"message":"x","type":"server_error","param":null,"code":"worker_lost"}}\n\n'


async def metered(api: Api) -> tuple[float, float]:
    """Prompt and completion tokens that were counted."""
    await api.quiet()
    return api.metric("llm_api_tokens_total", "m", "prompt"), api.metric("llm_api_tokens_total", "m", "completion")


# ---- usage ----


async def test_usage_event_is_taken_out_and_metered(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [stream()]
    assert (await api.post(chat(stream=True))).body == PLAIN
    assert await metered(api) == (11, 3)


async def test_usage_event_is_left_to_who_asked_for_it(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [stream()]
    reply = await api.post(chat(stream=True, stream_options={"include_usage": True}))
    assert reply.body == b"".join(tokens(3))
    assert await metered(api) == (11, 3)


async def test_usage_beside_choices_is_left_in(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    events = [event({"choices": [{"delta": {"content": "x"}}], "usage": USAGE}), b"data: [DONE]\n\n"]
    router.script = [stream(*events)]
    assert (await api.post(chat(stream=True))).body == b"".join(events)
    assert await metered(api) == (11, 3)


@pytest.mark.parametrize("size", [1, 50, 10_000])
async def test_usage_is_found_however_the_stream_is_cut(
    start_api: StartApi, start_router: StartRouter, size: int
) -> None:
    router = await start_router()
    api = await start_api(router)
    data = b"".join(tokens(3))
    router.script = [stream(*(data[start : start + size] for start in range(0, len(data), size)))]
    assert (await api.post(chat(stream=True))).body == PLAIN
    assert await metered(api) == (11, 3)


async def test_usage_of_a_whole_answer(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router())
    reply = await api.post()
    assert reply.body == completion()
    assert await metered(api) == (11, 3)


async def test_usage_of_a_large_answer_is_read_from_its_end(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    router.pools[0]["modality"] = "embedding"
    api = await start_api(router)
    large = json.dumps({"data": [0.5] * HELD_BYTES, "usage": {"prompt_tokens": 42, "total_tokens": 42}}).encode()
    router.script = [answer(200, large)]
    reply = await api.post({"model": "m", "input": "x"}, path="/v1/embeddings")
    assert (reply.status, reply.body == large) == (200, True)
    assert await metered(api) == (42, 0)


# ---- what the way was ----


@pytest.mark.parametrize("body", [chat(), chat(stream=True)])
async def test_only_administrators_see_the_worker(
    start_api: StartApi, start_router: StartRouter, body: dict[str, object]
) -> None:
    router = await start_router()
    api = await start_api(router)
    router.default = stream(fields=ROUTE) if "stream" in body else answer(200, None, *ROUTE)
    shown = await api.post(body, key="admin")
    assert {name: shown.headers[name] for name, _ in ROUTE} == dict(ROUTE)
    hidden = await api.post(body)
    assert not [name for name in hidden.headers if name.startswith("x-headrace")]


async def test_error_of_the_router_itself_shows_no_worker(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [refuse(503, "overloaded", ("Retry-After", "9"))]
    reply = await api.post(key="admin")
    assert (reply.status, reply.headers["retry-after"], error(reply)["code"]) == (503, "9", "overloaded")
    assert "x-headrace-worker" not in reply.headers


@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 503, 504])
async def test_errors_are_passed_on(start_api: StartApi, start_router: StartRouter, status: int) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [refuse(status, "its_code")]
    reply = await api.post(chat(stream=True))
    assert (reply.status, error(reply)["code"]) == (status, "its_code")
    assert len(router.requests) == 1


async def test_refused_secret_is_not_the_clients_fault(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [refuse(401, "invalid_api_key")]
    reply = await api.post()
    assert (reply.status, error(reply)["code"]) == (502, "hop_refused")


# ---- routers that break off, or are not there ----


@pytest.mark.parametrize(
    "rest",
    [raw(b"", "reset"), raw(b"", "close"), raw(chunk(b"data: {}\n"), "reset"), raw(chunk(b"")), raw(b"nonsense\r\n")],
    ids=["reset", "closed", "half an event", "ended without its last event", "nonsense"],
)
async def test_stream_that_breaks_ends_with_one_error_event(
    start_api: StartApi, start_router: StartRouter, rest: Behaviour
) -> None:
    router = await start_router()
    api = await start_api(router)
    go = asyncio.Event()
    router.script = [held(go, rest, first=stream_head() + chunk(tokens(1)[0]))]
    peer = await api.send(chat(stream=True))
    await peer.until(b"\n\n")
    go.set()
    body = await peer.until(b"0\r\n\r\n")
    assert (body.count(b'data: {"error"'), body.count(b"stream_lost"), body.count(b"[DONE]")) == (1, 1, 0)
    [record] = await api.records(1)
    assert (record["status"], record["reason"]) == (502, "stream_lost")


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("end", [raw(chunk(b"")), raw(b"", "reset")], ids=["complete", "reset"])
async def test_routers_error_event_is_the_only_one(
    start_api: StartApi, start_router: StartRouter, together: bool, end: Behaviour
) -> None:
    router = await start_router()
    api = await start_api(router)
    pieces = [tokens(1)[0], LOST]
    body = stream_head() + (chunk(b"".join(pieces)) if together else b"".join(map(chunk, pieces)))
    go = asyncio.Event()
    go.set()
    router.script = [held(go, end, first=body)]
    assert (await api.post(chat(stream=True))).body == b"".join(pieces)
    [record] = await api.records(1)
    assert (record["status"], record["reason"]) == (502, "worker_lost")


async def test_large_answer_that_breaks_is_cut(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [raw(whole(b"x" * (2 * HELD_BYTES))[:-1], "close")]
    body = await (await api.send()).rest()
    assert not body.endswith(b"0\r\n\r\n")
    [record] = await api.records(1)
    assert (record["status"], record["reason"]) == (502, "stream_lost")


DEATHS: dict[str, Behaviour] = {
    "reset": raw(b"", "reset"),
    "closed": raw(b"", "close"),
    "head only": raw(stream_head(), "reset"),
    "half an event": raw(stream_head() + chunk(b"data: {}\n"), "reset"),
    "half a whole answer": raw(whole(completion())[:-5], "reset"),
    "nonsense": raw(b"nonsense\r\n\r\n"),
}


@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS)
async def test_router_that_dies_before_the_first_event_is_replaced(
    start_api: StartApi, start_router: StartRouter, death: Behaviour
) -> None:
    routers = [await start_router(), await start_router()]
    api = await start_api(*routers)
    for router in routers:
        router.default = stream()
    routers[0].script = [death, death]  # the first may meet a kept connection, and is then tried there again
    while routers[0].script:  # a short prompt goes to either
        assert (await api.post(chat(stream=True))).body == PLAIN
    assert len(routers[1].requests) >= 1


async def test_router_that_is_gone_is_replaced(start_api: StartApi, start_router: StartRouter) -> None:
    first, second = await start_router(), await start_router()
    api = await start_api(first, second)
    await first.stop()
    for _ in range(6):
        assert (await api.post()).status == 200
    await first.start()


async def test_router_that_does_not_accept_in_time_is_replaced(start_api: StartApi, start_router: StartRouter) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):  # what no backlog has room for is not answered
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        api = await start_api(await start_router())
        fleet = api.service._fleet
        slow = type(fleet.routers[0])(f"http://127.0.0.1:{full.getsockname()[1]}")
        slow.origin.limits = ClientLimits(connect_timeout=0.1)
        fleet.order = lambda pool, prefix: [slow, *fleet.routers]  # type: ignore[method-assign]
        assert (await api.post()).status == 200


async def test_restarted_router_costs_no_request(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    await api.post()
    router.script = [raw(b"", "reset"), answer()]  # a kept connection that was closed meanwhile
    assert (await api.post()).status == 200
    assert len(router.requests) == 3


async def test_no_router_is_503(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    await router.stop()
    reply = await api.post()
    assert (reply.status, error(reply)["code"]) == (503, "no_router")
    assert int(reply.headers["retry-after"]) > 0
    await router.start()


async def test_no_router_ever_is_503_and_not_404(start_api: StartApi) -> None:
    api = await start_api("http://127.0.0.1:1")
    for reply in (await api.post(), await api.get("/v1/models")):
        assert (reply.status, error(reply)["code"]) == (503, "no_router")
    assert api.service.unready() == "no router can be reached"


async def test_nonsense_from_all_routers_is_502(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [raw(b"nonsense\r\n\r\n")]
    reply = await api.post()
    assert (reply.status, error(reply)["code"]) == (502, "bad_gateway")


# ---- time ----


async def test_first_event_that_does_not_come_is_504(start_api: StartApi, start_router: StartRouter) -> None:
    routers = [await start_router(), await start_router()]
    api = await start_api(*routers, first_event_timeout=30)
    for router in routers:
        router.default = silence
    peer = await api.send(chat(stream=True))
    await wait_for(lambda: any(router.requests for router in routers), "the request")
    api.service._forwarder.watch.check(time.monotonic() + 34)
    await asyncio.sleep(0.01)
    api.service._forwarder.watch.check(time.monotonic() + 36)
    reply = await peer.reply()
    assert (reply.status, error(reply)["code"]) == (504, "timeout")
    assert "30 s" in error(reply)["message"]
    assert sum(len(router.requests) for router in routers) == 1


async def test_silence_in_a_stream_is_filled_with_heartbeats(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    go = asyncio.Event()
    events = tokens(3)
    rest = raw(b"".join(map(chunk, events[1:])) + chunk(b""))
    router.script = [held(go, rest, first=stream_head() + chunk(events[0]))]
    peer = await api.send(chat(stream=True))
    await peer.until(b"\n\n")
    watch = api.service._forwarder.watch
    for later in (14, 16, 17, 32):  # 15 s of silence make one, and so do the next 15
        watch.check(time.monotonic() + later)
    go.set()
    body = await peer.until(b"0\r\n\r\n")
    assert body.count(b": ping\n\n") == 2


async def test_what_has_not_begun_has_no_heartbeat(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    go = asyncio.Event()
    router.script = [held(go, stream())]
    peer = await api.send(chat(stream=True))
    await wait_for(lambda: bool(router.requests), "the request")
    api.service._forwarder.watch.check(time.monotonic() + 60)
    go.set()
    assert (await peer.reply()).body == PLAIN


async def test_large_answer_that_is_slow_has_no_heartbeat(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    go = asyncio.Event()
    body = b"x" * (2 * HELD_BYTES)
    data = whole(body)
    router.script = [held(go, raw(data[-1000:]), first=data[:-1000])]
    peer = await api.send()
    await peer.until(b"\r\n\r\n")
    api.service._forwarder.watch.check(time.monotonic() + 3600)
    go.set()
    assert b"".join([piece async for piece in peer.chunks()]) == body


async def test_client_that_leaves_ends_the_routers_work(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    router.default = silence
    peer = await api.send()
    await wait_for(lambda: bool(router.requests), "the request")
    peer.close()
    await wait_for(router.requests[0].gone.is_set, "the router's connection to be closed")
    assert router.requests[0].path == CHAT

"""The end of a stream: whoever has seen it has got all, and may leave in the same moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headrace.wire.exchange import Exchange
from tests.api.conftest import CHAT, Api, StartApi, StartRouter, chat
from tests.fakes import FakeRouter, chunk, held, raw, stream, stream_head, tokens
from tests.wire.leaving import watch
from tests.wire.peer import Peer, wait_for

NEVER = asyncio.Event
ALL = stream_head() + b"".join(map(chunk, tokens(3)))
"""A stream up to [DONE], without the end of its body."""
ERROR = b'data: {"error":{"message":"x","type":"server_error","param":null,"code":"worker_lost"}}\n\n'
CONVERSATION = [{"role": "user", "content": "Hello"}]
STREAMS: dict[str, tuple[dict[str, Any], bytes]] = {
    CHAT: (chat(stream=True), b"data: [DONE]\n\n"),
    "/v1/completions": ({"model": "m", "prompt": "Hello", "stream": True}, b"data: [DONE]\n\n"),
    "/v1/messages": (
        {"model": "m", "max_tokens": 9, "messages": CONVERSATION, "stream": True},
        b'data: {"type":"message_stop"}\n\n',
    ),
    "/v1/responses": ({"model": "m", "input": "Hello", "stream": True}, b"event: response.completed\n"),
}
"""By path: a request, and what its stream ends with."""


def leave(peer: Peer, way: str) -> None:
    if way == "half-closed":
        peer.writer.write_eof()
    elif way == "reset":
        peer.writer.transport.abort()
    else:
        peer.close()


async def booked(api: Api) -> tuple[int, dict[str, Any]]:
    """How many records the ledger has, and the last line of the log."""
    await api.quiet()
    count = api.service._ledger.booked
    return count, (await api.records(count))[-1]


@pytest.mark.parametrize("way", ["closed", "half-closed", "reset"])
@pytest.mark.parametrize("path", STREAMS)
async def test_client_that_leaves_at_the_end_has_got_all(
    start_api: StartApi, start_router: StartRouter, path: str, way: str
) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [held(NEVER(), raw(b""), first=ALL)]
    body, end = STREAMS[path]
    peer = await api.send(body, path=path)
    assert (await peer.until(end + (b"" if end.endswith(b"\n\n") else b"data: "))).count(end) == 1
    leave(peer, way)
    count, record = await booked(api)
    assert (count, record["status"], "reason" in record) == (1, 200, False)
    assert (record["prompt_tokens"], record["completion_tokens"]) == (11, 3)
    assert "estimated" not in record


@pytest.mark.parametrize("path", STREAMS)
async def test_record_is_written_before_the_end_leaves(
    start_api: StartApi, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [held(NEVER(), raw(b""), first=ALL)]
    body, end = STREAMS[path]
    ledger, write, finish = api.service._ledger, Exchange.write, Exchange.finish
    before: list[int] = []
    finished: list[bytes] = []

    def seen(exchange: Exchange, payload: bytes) -> None:
        assert end not in payload
        write(exchange, payload)

    def ended(exchange: Exchange, last: bytes = b"") -> None:
        assert end in last
        finished.append(last)
        finish(exchange, last)

    def leaving(data: bytes) -> None:
        if finished and end in data:
            before.append(len(list(ledger.spool.active.lines())))

    monkeypatch.setattr(ledger, "_interval", 1e6)
    monkeypatch.setattr(Exchange, "write", seen)
    monkeypatch.setattr(Exchange, "finish", ended)
    watch(monkeypatch, leaving)
    await ledger.flush()
    assert (await (await api.send(body, path=path)).reply()).status == 200
    assert before == [1]


@pytest.mark.parametrize("way", ["closed", "reset"])
@pytest.mark.parametrize("kept_in", ["memory", "valkey"])
async def test_client_that_leaves_at_the_end_can_have_it_again(
    start_api: StartApi, start_router: StartRouter, request: pytest.FixtureRequest, kept_in: str, way: str
) -> None:
    router = await start_router()
    options = {"redis": request.getfixturevalue("valkey")} if kept_in == "valkey" else {}
    api = await start_api(router, **options)
    router.script = [held(NEVER(), raw(b""), first=ALL)]
    headers = {"idempotency-key": f"end-{kept_in}-{way}"}
    peer = await api.send(chat(stream=True), **headers)
    first = await peer.until(b"data: [DONE]\n\n")
    leave(peer, way)
    await api.quiet()
    again = await api.post(chat(stream=True), **headers)
    assert (again.status, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.body == b"".join(tokens(3, usage=False))
    assert again.body.splitlines()[-2] in first
    assert (len(router.requests), api.service._ledger.booked) == (1, 1)


async def test_next_request_does_not_wait_for_the_end_of_the_routers_answer(
    start_api: StartApi, start_router: StartRouter
) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [held(NEVER(), raw(b""), first=ALL)]
    peer = await api.send(chat(stream=True))
    assert (await peer.reply()).status == 200
    await peer.send(
        b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n\r\n" % api.keys["user"].encode()
    )
    assert (await peer.reply(method="GET")).status == 200


async def test_connection_to_the_router_is_used_again(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    router.default = stream()
    origin = api.service._fleet.routers[0].origin
    for _ in range(5):
        assert (await api.post(chat(stream=True))).status == 200
        await wait_for(lambda: not origin.busy, "the connection to be free again")
    assert router.connections == 1


@pytest.mark.parametrize("behind", [b"", b"data: [DONE]\n\n"])
async def test_client_that_leaves_at_an_error_pays_nothing(
    start_api: StartApi, start_router: StartRouter, behind: bytes
) -> None:
    router = await start_router()
    api = await start_api(router)
    first = stream_head() + b"".join(map(chunk, [*tokens(3, usage=False, done=False)[:-1], ERROR]))
    router.script = [held(NEVER(), raw(b""), first=first + (chunk(behind) if behind else b""))]
    peer = await api.send(chat(stream=True))
    await peer.until(b'"worker_lost"}}\n\n')
    leave(peer, "closed")
    count, record = await booked(api)
    assert (count, record["status"], record["reason"]) == (1, 502, "worker_lost")
    assert not {"prompt_tokens", "completion_tokens"} & record.keys()


async def test_log_and_ledger_agree_on_who_left_in_the_very_moment_of_the_end(
    start_api: StartApi, start_router: StartRouter
) -> None:
    router: FakeRouter = await start_router()
    api = await start_api(router)
    first, *rest = tokens(3)
    router.script = [held(NEVER(), raw(b""), first=stream_head() + chunk(first))]
    peer = await api.send(chat(stream=True))
    await peer.until(first)
    [relay] = api.service._forwarder.watch._relays
    relay.exchange._connection.eof_received()  # its task is cancelled now, and has not heard of it yet
    relay.on_data(b"".join(rest), None)
    count, record = await booked(api)
    assert (count, record["status"], record["completion_tokens"]) == (1, 200, 3)

"""Clients that leave: the work ends, and what was produced until then is billed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.conftest import Api, StartApi, StartRouter, chat
from tests.fakes import FakeRouter, chunk, held, raw, silence, stream_head, tokens
from tests.wire.peer import Peer, wait_for

NEVER = asyncio.Event


async def leave(peer: Peer, way: str) -> None:
    if way == "half-closed":
        peer.writer.write_eof()
    elif way == "reset":
        peer.writer.transport.abort()
    else:
        peer.close()


async def gone(api: Api, router: FakeRouter) -> dict[str, Any]:
    """The line of the last request, when its work has ended."""
    await wait_for(router.requests[-1].gone.is_set, "the router to hear of it")
    await api.quiet()
    return (await api.records(len(router.requests)))[-1]


@pytest.mark.parametrize("way", ["closed", "half-closed", "reset"])
async def test_stream_is_billed_by_its_events(start_api: StartApi, start_router: StartRouter, way: str) -> None:
    router = await start_router()
    api = await start_api(router)
    events = tokens(5, usage=False, done=False)[:-1]
    first = stream_head() + b"".join(map(chunk, events))
    router.script = [held(NEVER(), raw(b""), first=first)]
    peer = await api.send(chat(stream=True))
    await peer.until(events[-1])
    await leave(peer, way)
    record = await gone(api, router)
    assert (record["status"], record["reason"], record["completion_tokens"]) == (499, "client_gone", 5)
    assert record["prompt_tokens"] > 0
    assert record["estimated"]


async def test_stream_whose_reader_paused_is_billed_too(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    event = tokens(1)[0].replace(b"t0", b"x" * 8000)

    async def endless(call: Any) -> None:
        await call.send(stream_head())
        while not call.gone.is_set():
            await call.send(chunk(event))
            await asyncio.sleep(0)

    router.script = [endless]
    peer = await Peer.connect(api.address, receive_buffer=4096)
    api._peers.append(peer)
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}'
    await peer.send(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
        % (api.keys["user"].encode(), len(body), body)
    )
    await wait_for(
        lambda: any(relay.paused for relay in api.service._forwarder.watch._relays), "the stream to be paused"
    )
    peer.writer.transport.abort()
    [record] = await api.records(1)
    assert record["reason"] == "client_gone"
    assert record["completion_tokens"] > 10
    assert record["client_stall_ms"] > 0


async def test_whole_answer_is_billed_by_the_models_pace(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    api.service._gateway._estimator.learn("m", 40, 10, sequences=1, output_tokens=100_000, seconds=1.0)
    router.script = [silence]
    peer = await api.send(chat(max_tokens=7, n=2))
    await wait_for(lambda: bool(router.requests), "the request")
    await asyncio.sleep(0.05)
    await leave(peer, "closed")
    record = await gone(api, router)
    assert (record["status"], record["completion_tokens"], record["estimated"]) == (499, 14, True)


async def test_who_still_waits_for_a_worker_is_billed_nothing(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    router.pools[0]["wait_ms"] = 60_000
    api = await start_api(router)
    api.service._gateway._estimator.learn("m", 40, 10, sequences=1, output_tokens=1000, seconds=1.0)
    router.script = [silence]
    peer = await api.send(chat())
    await wait_for(lambda: bool(router.requests), "the request")
    await leave(peer, "closed")
    assert not {"prompt_tokens", "completion_tokens"} & (await gone(api, router)).keys()

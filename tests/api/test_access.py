"""Who gets in, and what is written down about it."""

from __future__ import annotations

import asyncio
import json
import re
import time

import pytest

from tests.api.conftest import CHAT, StartApi, StartRouter, chat, error
from tests.fakes import USAGE, answer, chunk, held, refuse, silence, stream, stream_head, tokens
from tests.wire.peer import wait_for


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings"])
@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"key": ""}, "No API key"),
        ({"key": "", "authorization": "Basic dXNlcg=="}, "Bearer"),
        ({"key": "", "authorization": "Bearer "}, "No API key"),
        ({"key": "hr-unknown-key"}, "not known"),
        ({"key": "x" * 4000}, "not known"),
        ({"key": "expired"}, "expired"),
        ({"key": "revoked"}, "revoked"),
    ],
)
async def test_wrong_key_is_401(
    start_api: StartApi, start_router: StartRouter, path: str, headers: dict[str, str], message: str
) -> None:
    router = await start_router()
    api = await start_api(router)
    reply = await api.post(b"not even json", path=path, **headers)
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    found = error(reply)
    assert (found["type"], found["code"]) == ("invalid_request_error", "invalid_api_key")
    assert message in found["message"]
    assert not router.requests


async def test_listing_needs_a_key_too(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router())
    for path in ("/v1/models", "/v1/models/m"):
        assert (await api.get(path, key="")).status == 401


async def test_x_api_key_is_as_good(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router())
    assert (await api.post(key="", x_api_key=api.keys["user"])).status == 200


async def test_id_is_ours_and_the_clients_is_only_logged(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    replies = [await api.post(x_request_id="mine-1"), await api.post(), await api.post(b"{", x_request_id="y" * 999)]
    ids = [reply.headers["x-request-id"] for reply in replies]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{24}", one) for one in ids)
    assert [call.header("x-request-id") for call in router.requests] == ids[:2]
    records = await api.records(3)
    assert [record["id"] for record in records] == ids
    assert [record.get("client_id") for record in records] == ["mine-1", None, "y" * 200]


async def test_record_tells_all_but_the_text_and_the_key(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    headers = (("x-headrace-worker", "w:1"), ("x-headrace-queue-ms", "7"), ("x-headrace-attempts", "2"))
    router.script = [stream(fields=headers)]
    body = chat(stream=True, messages=[{"role": "user", "content": "SECRET-PROMPT"}], user="SECRET-USER")
    for known in api.service._fleet.routers:
        known.origin.close_idle(time.monotonic() + 3600)  # so that a connection has to be made
    await api.post(body, user_agent="SECRET-AGENT")
    [record] = await api.records(1)
    times = {name: record.pop(name) for name in ("at", "auth_ms", "connect_ms", "ttft_ms", "total_ms")}
    assert 0 < times["auth_ms"] <= times["auth_ms"] + times["connect_ms"] <= times["ttft_ms"] <= times["total_ms"]
    assert times["at"] > 1.6e9
    assert record.pop("tenant")
    key = api.keys["user"]
    assert record.pop("key") in key
    assert len(record.pop("id")) == 24
    assert record == {
        "path": CHAT,
        "client": "127.0.0.1",
        "model": "m",
        "worker": "w:1",
        "attempts": 2,
        "stream": True,
        "status": 200,
        "prompt_tokens": USAGE["prompt_tokens"],
        "completion_tokens": USAGE["completion_tokens"],
        "cached_tokens": 8,
        "queue_ms": 7,
    }
    for text in ("SECRET", key.rpartition("-")[2], "t0"):
        assert text not in api.log.read_text()


@pytest.mark.parametrize("stage", ["before", "during"])
async def test_client_that_leaves_is_logged_as_499(start_api: StartApi, start_router: StartRouter, stage: str) -> None:
    router = await start_router()
    api = await start_api(router)
    begun = stream_head() + chunk(tokens(1)[0])
    router.default = held(asyncio.Event(), silence, first=begun if stage == "during" else b"")
    peer = await api.send(chat(stream=True))
    await wait_for(lambda: bool(router.requests), "the request")
    if stage == "during":
        await peer.until(b"\n\n")
    peer.reset()
    await wait_for(router.requests[0].gone.is_set, "the router's connection to be closed")
    [record] = await api.records(1)
    assert (record["status"], record["reason"]) == (499, "client_gone")
    assert api.metric("llm_api_requests_total", CHAT, "m", "499") == 1
    assert api.metric("llm_api_errors_total", CHAT, "client_gone") == 1
    assert api.metric("llm_api_in_flight") == 0


async def test_errors_are_counted_by_code(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [refuse(503, "no_worker", ("Retry-After", "3"))]
    await api.post()
    await api.post(b"{")
    await api.post(key="")
    await api.quiet()
    assert api.metric("llm_api_errors_total", CHAT, "no_worker") == 1
    assert api.metric("llm_api_errors_total", CHAT, "invalid_json") == 1
    assert api.metric("llm_api_errors_total", CHAT, "invalid_api_key") == 1
    assert api.metric("llm_api_requests_total", CHAT, "m", "503") == 1
    assert api.metric("llm_api_requests_total", CHAT, "", "400") == 1
    assert [record["reason"] for record in await api.records(3)] == ["no_worker", "invalid_json", "invalid_api_key"]


async def test_unknown_models_make_no_series(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router())
    for number in range(3):
        assert (await api.post(chat(f"made-up-{number}"))).status == 404
    await api.quiet()
    assert api.metric("llm_api_requests_total", CHAT, "", "404") == 3


async def test_metrics_of_a_stream_and_of_a_whole_answer(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [stream(), answer()]
    await api.post(chat(stream=True))
    await api.post()
    await api.quiet()
    assert api.metric("llm_api_requests_total", CHAT, "m", "200") == 2
    assert api.metric("llm_api_request_duration_seconds", CHAT, "m") == 2
    assert api.metric("llm_api_ttft_seconds", "m") == 1
    assert api.metric("llm_api_itl_seconds", "m") == 1
    assert api.metric("llm_api_tokens_total", "m", "prompt") == 2 * 11
    assert api.metric("llm_api_tokens_total", "m", "completion") == 2 * 3
    assert api.metric("llm_api_tokens_total", "m", "cached") == 2 * 8


async def test_unknown_path_is_404_in_openais_form(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router())
    reply = await api.get("/v1/nothing")
    assert (reply.status, error(reply)["code"]) == (404, "unknown_path")
    reply = await api.get(CHAT)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert json.loads(reply.body)["error"]["code"] == "method_not_allowed"

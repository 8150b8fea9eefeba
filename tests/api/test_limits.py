"""Limits, from the client's end: what passes, what it is told, and what it is charged."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.api.limits import duration
from headrace.store.limits.memory import MemoryLimiter
from headrace.store.limits.shared import SharedLimiter
from tests.api.conftest import CHAT, Api, StartApi, StartRouter, chat, error
from tests.fakes import answer, chunk, completion, held, raw, refuse, silence, stream, stream_head, tokens
from tests.wire.peer import wait_for

PLENTY = {"requests_per_minute": 1000, "tokens_per_minute": 10**6, "tokens_per_day": 10**6, "concurrency": 1}


def limited(api: Api, tenant_limits: dict[str, int] | None = None, /, **limits: int) -> str:
    """A new key with these limits, of a tenant of its own."""
    store = api.service._store
    tenant = store.create_tenant(f"tenant {len(store.tenants())}", limits=tenant_limits, actor="test")
    return store.create(tenant.id, "limited", actor="test", limits=limits)[1]


async def charged(api: Api, key: str) -> int:
    """Tokens that the key has used today; it has a limit on them."""
    limiter, key_id = api.service._limiter, key.split("-")[1]
    if isinstance(limiter, MemoryLimiter):
        return limiter._accounts[f"key:{key_id}"]._days.used
    assert isinstance(limiter, SharedLimiter)
    server = limiter._redis._server
    while server._asked:
        await asyncio.sleep(0.001)
    [name] = await server.ask(server.commands.keys(f"*:key:{key_id}"))
    state = msgspec.msgpack.decode(await server.ask(server.commands.get(name)))
    return int(state["day_used"])


def rate(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("x-ratelimit")}


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0, b"0s"),
        (1, b"1ms"),
        (12_000, b"12ms"),
        (999_001, b"1s"),
        (1_500_000, b"1.5s"),
        (28_140_000, b"28.14s"),
        (60_000_000, b"1m0s"),
        (179_560_000, b"2m59.56s"),
        (360_000_000, b"6m0s"),
        (3_600_000_000, b"1h0m0s"),
        (90_061_001_000, b"25h1m1.001s"),
    ],
)
def test_times_are_written_as_openai_writes_them(microseconds: int, text: bytes) -> None:
    assert duration(microseconds) == text


@pytest.mark.parametrize("streaming", [False, True])
async def test_every_answer_tells_how_the_limits_stand(
    start_api: StartApi, start_router: StartRouter, streaming: bool
) -> None:
    router = await start_router()
    router.script = [stream() if streaming else answer(), refuse(503, "no_worker")]
    api = await start_api(router)
    key = limited(api, requests_per_minute=60, tokens_per_minute=60_000)
    for status in (200, 503):
        reply = await api.post(chat(max_tokens=7, stream=streaming), key=key)
        assert reply.status == status
        told = rate(reply.headers)
        assert sorted(told) == [
            f"x-ratelimit-{what}-{unit}" for what in ("limit", "remaining", "reset") for unit in ("requests", "tokens")
        ]
        assert (told["x-ratelimit-limit-requests"], told["x-ratelimit-limit-tokens"]) == ("60", "60000")
        assert int(told["x-ratelimit-remaining-requests"]) in {58, 59}
        assert 59_900 <= int(told["x-ratelimit-remaining-tokens"]) < 60_000
        assert re.fullmatch(r"[12](\.\d+)?s|\d+ms", told["x-ratelimit-reset-requests"])
        assert re.fullmatch(r"\d+ms", told["x-ratelimit-reset-tokens"])


async def test_only_what_is_limited_is_told(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router())
    assert not rate((await api.post()).headers)
    assert not rate((await api.post(key=limited(api, concurrency=5))).headers)
    assert set(rate((await api.post(key=limited(api, requests_per_minute=5))).headers)) == {
        f"x-ratelimit-{what}-requests" for what in ("limit", "remaining", "reset")
    }
    assert set(rate((await api.post(key=limited(api, tokens_per_minute=500))).headers)) == {
        f"x-ratelimit-{what}-tokens" for what in ("limit", "remaining", "reset")
    }


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat()),
        (CHAT, chat(stream=True)),
        ("/v1/completions", {"model": "m", "prompt": "x"}),
        ("/v1/completions", {"model": "m", "prompt": "x", "stream": True}),
        ("/v1/responses", {"model": "m", "input": "x"}),
        ("/v1/responses", {"model": "m", "input": "x", "stream": True}),
        ("/v1/messages", {**chat(), "max_tokens": 5}),
        ("/v1/messages", {**chat(), "max_tokens": 5, "stream": True}),
        ("/tokenize", {"model": "m", "prompt": "x"}),
    ],
)
async def test_no_endpoint_is_a_way_around(
    start_api: StartApi, start_router: StartRouter, path: str, body: dict[str, Any]
) -> None:
    router = await start_router()
    router.default = stream() if body.get("stream") else answer()
    api = await start_api(router)
    key = limited(api, requests_per_minute=1)
    assert (await api.post(body, path=path, key=key)).status == 200
    refused = await api.post(body, path=path, key=key)
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert len(router.requests) == 1


async def test_over_the_limit_is_429_that_says_when(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    key = limited(api, requests_per_minute=2)
    for _ in range(2):
        await api.post(key=key)
    reply = await api.post(key=key)
    found = error(reply)
    assert (reply.status, found["type"], found["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert re.match(r"Rate limit reached: requests_per_minute of your key is 2\. Try again in \d", found["message"])
    assert 1 <= int(reply.headers["retry-after"]) <= 30
    assert rate(reply.headers)["x-ratelimit-remaining-requests"] == "0"
    assert len(router.requests) == 2
    assert api.metric("llm_api_limited_total", "key", "requests_per_minute") == 1


async def test_a_tenants_limit_is_for_all_its_keys(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router())
    first = limited(api, {"requests_per_minute": 1}, requests_per_minute=5)
    store = api.service._store
    known = store.keys()
    owner = next(key.tenant for key in known if key.id == first.split("-")[1])
    _, second = store.create(owner, "second", actor="test")
    reply = await api.post(key=first)
    assert rate(reply.headers)["x-ratelimit-limit-requests"] == "1"
    refused = await api.post(key=second)
    assert "requests_per_minute of your tenant is 1" in error(refused)["message"]
    assert api.metric("llm_api_limited_total", "tenant", "requests_per_minute") == 1


@pytest.mark.parametrize("limit", ["tokens_per_minute", "tokens_per_day", "tokens_per_month"])
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_request_larger_than_its_bucket_is_400_and_one_of_exactly_its_size_passes(
    start_api: StartApi, start_router: StartRouter, limit: str, field: str
) -> None:
    router = await start_router()
    api = await start_api(router)
    key = limited(api, **{limit: 1000})
    reply = await api.post({**chat(), field: 1000}, key=key)
    found = error(reply)
    assert (reply.status, found["param"], found["code"]) == (400, field, "larger_than_limit")
    assert f"{limit} of your key, which is 1,000" in found["message"]
    assert not router.requests
    match = re.search(r"at most (\d+)\.", found["message"])
    assert match
    assert (await api.post({**chat(), field: int(match[1]) + 1}, key=key)).status == 400
    assert (await api.post({**chat(), field: int(match[1])}, key=key)).status == 200


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/completions", {"model": "m", "prompt": "x", "max_completion_tokens": 5}, "max_tokens"),
        ("/v1/responses", {"model": "m", "input": "x"}, "max_output_tokens"),
        ("/v1/messages", chat(), "max_tokens"),
    ],
)
async def test_the_field_that_is_too_large_is_named_as_the_endpoint_names_it(
    start_api: StartApi, start_router: StartRouter, path: str, body: dict[str, Any], field: str
) -> None:
    api = await start_api(await start_router())
    reply = await api.post({**body, field: 1000}, path=path, key=limited(api, tokens_per_minute=500))
    message = json.loads(reply.body)["error"]["message"]
    assert (reply.status, message.partition(":")[0]) == (400, field)
    assert f"tokens_per_minute of your key, which is 500. Set {field} to at most 4" in message


async def test_a_prompt_larger_than_its_bucket_is_400(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router("m", "e")
    api = await start_api(router)
    reply = await api.post(
        chat(messages=[{"role": "user", "content": "x" * 9000}]), key=limited(api, tokens_per_minute=1000)
    )
    assert reply.status == 400
    assert re.match(r"The prompt has about 2,2\d\d tokens, more than tokens_per_minute", error(reply)["message"])


async def test_the_first_request_on_a_small_limit_passes(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router())
    key = limited(api, tokens_per_minute=20, requests_per_minute=1, concurrency=1, tokens_per_day=20)
    reply = await api.post(key=key)  # nobody said how long the answer may be
    assert reply.status == 200
    assert await charged(api, key) == 14


async def test_fields_that_contradict_each_other_are_no_way_around(
    start_api: StartApi, start_router: StartRouter
) -> None:
    router = await start_router()
    api = await start_api(router)
    key = limited(api, tokens_per_minute=1000, requests_per_minute=1)
    assert (await api.post(chat(max_tokens=5, max_completion_tokens=5000), key=key)).status == 400
    assert (await api.post(chat(max_tokens=5000, max_completion_tokens=5), key=key)).status == 400
    assert (await api.post(chat(max_tokens=600, n=2), key=key)).status == 400
    assert not router.requests
    assert (await api.post(key=key)).status == 200  # what was never sent on counts for nothing


@pytest.mark.parametrize("streaming", [False, True])
async def test_real_usage_is_charged(start_api: StartApi, start_router: StartRouter, streaming: bool) -> None:
    router = await start_router()
    router.default = stream() if streaming else answer()
    api = await start_api(router)
    key = limited(api, **PLENTY)
    bodies = {
        CHAT: chat(max_tokens=5000),
        "/v1/completions": {"model": "m", "prompt": "x", "max_tokens": 5000},
        "/v1/responses": {"model": "m", "input": "x", "max_output_tokens": 5000},
        "/v1/messages": chat(max_tokens=5000),
    }
    for count, (path, body) in enumerate(bodies.items(), 1):
        assert (await api.post({**body, "stream": streaming}, path=path, key=key)).status == 200
        assert await charged(api, key) == 14 * count


async def test_an_answer_without_usage_is_charged_by_estimate(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    router.script = [stream(*tokens(20, usage=False)), answer(200, completion(usage=None))]
    api = await start_api(router)
    key = limited(api, **PLENTY)
    await api.post(chat(stream=True), key=key)
    streamed = await charged(api, key)
    assert 20 <= streamed <= 30
    await api.post(chat(max_tokens=100), key=key)
    assert 100 <= await charged(api, key) - streamed <= 110


@pytest.mark.parametrize(
    "failure",
    [
        refuse(503, "no_worker"),
        refuse(500, "request_crashes_worker"),
        raw(stream_head() + chunk(tokens(1)[0]), "close"),
        raw(b"nonsense\r\n\r\n", "close"),
    ],
    ids=["503", "500", "broken stream", "nonsense"],
)
async def test_what_failed_is_not_charged(start_api: StartApi, start_router: StartRouter, failure: Any) -> None:
    router = await start_router()
    router.script = [failure] * 3
    api = await start_api(router)
    key = limited(api, requests_per_minute=1, tokens_per_minute=300, tokens_per_day=300, concurrency=1)
    for _ in range(3):
        await api.post(chat(stream=True), key=key)
    assert len(router.requests) == 3
    assert await charged(api, key) == 0
    assert (await api.post(key=key)).status == 200


async def test_no_router_is_not_charged(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    key = limited(api, requests_per_minute=1)
    await router.stop()
    assert [(await api.post(key=key)).status for _ in range(2)] == [503, 503]


async def test_what_a_worker_refuses_counts_as_a_request_without_tokens(
    start_api: StartApi, start_router: StartRouter
) -> None:
    router = await start_router()
    router.script = [refuse(400, "context_length_exceeded")]
    api = await start_api(router)
    key = limited(api, requests_per_minute=1, tokens_per_day=1000)
    assert (await api.post(key=key)).status == 400
    assert await charged(api, key) == 0
    assert (await api.post(key=key)).status == 429


async def test_tokenizing_takes_no_tokens(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    router.default = answer(200, b'{"count":250}')
    api = await start_api(router)
    key = limited(api, tokens_per_minute=1, tokens_per_day=1)
    body = {"model": "m", "prompt": "x" * 1000}
    for _ in range(2):
        assert (await api.post(body, path="/tokenize", key=key)).status == 200


async def test_a_client_that_leaves_a_stream_pays_for_what_came(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    first = stream_head() + b"".join(chunk(event) for event in tokens(9, done=False, usage=False))
    router.script = [held(asyncio.Event(), silence, first=first)]
    api = await start_api(router)
    key = limited(api, **PLENTY)
    peer = await api.send(chat(stream=True), key=key)
    await peer.until(b"t8 ")
    assert (await api.post(key=key)).status == 429  # its only slot is taken
    peer.close()
    await api.quiet()
    assert 10 < await charged(api, key) <= 20  # ten events, and a short prompt
    assert (await api.post(key=key)).status == 200
    record = next(record for record in await api.records(2) if record["status"] == 499)
    assert record["prompt_tokens"] + record["completion_tokens"] <= await charged(api, key) - 14


async def test_a_client_that_leaves_behind_the_usage_pays_that(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    first = stream_head() + b"".join(chunk(event) for event in tokens(3, done=False))
    router.script = [held(asyncio.Event(), silence, first=first)]
    api = await start_api(router)
    key = limited(api, **PLENTY)
    peer = await api.send(chat(stream=True, stream_options={"include_usage": True}), key=key)
    await peer.until(b'"usage"')
    peer.close()
    await api.quiet()
    assert await charged(api, key) == 14


async def test_a_client_that_leaves_before_an_answer_pays_its_prompt(
    start_api: StartApi, start_router: StartRouter
) -> None:
    router = await start_router()
    router.script = [silence]
    api = await start_api(router)
    key = limited(api, **PLENTY)
    peer = await api.send(chat(messages=[{"role": "user", "content": "x" * 4000}]), key=key)
    await wait_for(lambda: len(router.requests) == 1, "the request")
    peer.close()
    await api.quiet()
    assert 1000 <= await charged(api, key) <= 1010
    assert (await api.post(key=key)).status == 200


@pytest.mark.own_stores
async def test_replicas_share_limits_by_redis(
    start_api: StartApi, start_router: StartRouter, valkey: str, tmp_path: Path
) -> None:
    router = await start_router()
    one = await start_api(router, redis=valkey)
    two = await start_api(router, redis=valkey, database=f"sqlite:///{tmp_path}/home0/headrace.db")
    key = limited(one, requests_per_minute=7, tokens_per_minute=10**6)
    replies = await asyncio.gather(*(api.post(key=key) for api in (one, two) for _ in range(7)))
    assert sorted(reply.status for reply in replies) == [200] * 7 + [429] * 7
    assert len(router.requests) == 7
    assert one.metric("llm_api_limits_fallback") == 0


@pytest.mark.own_stores
async def test_requests_go_on_without_redis(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router(), redis="unix:///nowhere/at/all")
    key = limited(api, requests_per_minute=1)
    assert [(await api.post(key=key)).status for _ in range(2)] == [200, 429]
    assert api.metric("llm_api_limits_fallback") == 1


@pytest.mark.own_stores
async def test_processes_without_redis_have_a_share_each(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router(), processes=2)
    key = limited(api, requests_per_minute=4)
    replies = [await api.post(key=key) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert json.loads(replies[2].body)["error"]["code"] == "rate_limit_exceeded"

"""What is let through to a router, and in which form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.openai.rules import FORBIDDEN
from tests.api.conftest import CHAT, StartApi, StartRouter, chat, error
from tests.fakes import pool


async def test_router_gets_exactly_the_contracts_headers(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router, hop_secret="s3cret", first_event_timeout=60)
    reply = await api.post(chat(max_tokens=5), traceparent="00-1-2-01", cookie="a=b", accept="*/*", user_agent="x")
    call = router.requests[0]
    headers = dict(call.headers)
    tenant, cost = headers.pop("x-headrace-tenant"), headers.pop("x-headrace-cost")
    assert tenant
    assert cost.endswith(",5")
    assert headers == {
        "host": router.name,
        "content-type": "application/json",
        "content-length": str(len(call.body)),
        "traceparent": "00-1-2-01",
        "x-request-id": reply.headers["x-request-id"],
        "x-headrace-secret": "s3cret",
        "x-headrace-model": "m",
        "x-headrace-deadline-ms": "60000",
        "x-headrace-prefix": "",
    }
    assert len(headers) + 2 == len(call.headers)


async def test_clients_own_contract_headers_are_dropped(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    names = ("secret", "model", "adapter", "tenant", "session", "priority", "deadline-ms", "cost", "prefix", "worker")
    await api.post(**{f"x_headrace_{name}": "forged" for name in names})
    assert "forged" not in str(router.requests[0].headers)


async def test_router_gets_our_own_encoding(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    message = b'{"role":"user","content":"\\u0041"}'
    await api.post(b'{ "model": "x", "model":"m", "messages": [%b], "stream": true, "top_k": 3 }' % message)
    call = router.requests[0]
    assert (call.method, call.path) == ("POST", CHAT)
    assert call.body.count(b'"model"') == 1
    assert json.loads(call.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "A"}],
        "stream": True,
        "top_k": 3,
        "stream_options": {"include_usage": True},
    }


async def test_long_prompt_has_a_prefix(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    for end in ("x", "y"):
        await api.post(chat(messages=[{"role": "user", "content": "s" * 600 + end}]))
    first, second = (call.header("x-headrace-prefix") for call in router.requests)
    assert first == second
    assert len(first) == 2 * 16


async def test_unknown_model_names_what_this_key_may_use(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router("m", "hidden")
    api = await start_api(router)
    reply = await api.post(chat("hidden"), key="limited")
    found = error(reply)
    assert (reply.status, found["code"], found["param"]) == (404, "model_not_found", "model")
    assert found["message"].endswith("Models for you: m.")
    assert (await api.post(chat("hidden"))).status == 200
    other = error(await api.post(chat("nothing")))
    assert other["message"].endswith("Models for you: hidden, m.")
    assert len(router.requests) == 1


async def test_forbidden_model_looks_like_one_that_is_not_there(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router("m", "hidden"))
    messages = [error(await api.post(chat(name), key="limited"))["message"] for name in ("hidden", "absent")]
    assert messages[0].replace("hidden", "absent") == messages[1]


@pytest.mark.parametrize(
    ("path", "model", "more"),
    [
        (CHAT, "e", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/completions", "e", {"prompt": "x"}),
        ("/v1/embeddings", "m", {"input": "x"}),
    ],
)
async def test_wrong_kind_of_model_is_400(
    start_api: StartApi, start_router: StartRouter, path: str, model: str, more: dict[str, Any]
) -> None:
    router = await start_router()
    router.pools.append(pool("e", modality="embedding"))
    api = await start_api(router)
    reply = await api.post({"model": model, **more}, path=path)
    found = error(reply)
    assert (reply.status, found["code"], found["param"]) == (400, "wrong_modality", "model")
    assert not router.requests


async def test_model_that_still_loads_is_asked_whatever_its_kind(
    start_api: StartApi, start_router: StartRouter
) -> None:
    """Nobody knows its kind before a worker told it: the router says what there is to say."""
    router = await start_router()
    router.pools.append(pool("e", modality=""))
    api = await start_api(router)
    assert (await api.post({"model": "e", "input": "x"}, path="/v1/embeddings")).status == 200
    assert router.requests


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
async def test_forbidden_extra_is_400_and_named(start_api: StartApi, start_router: StartRouter, name: str) -> None:
    router = await start_router()
    api = await start_api(router)
    reply = await api.post({**chat(), name: 1})
    assert (reply.status, error(reply)["param"]) == (400, name)
    assert not router.requests


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b"{", None),
        (b'{"model":"\xff"}', None),
        (b"[" * 100_000, None),
        ({"messages": [{"role": "user", "content": "x"}]}, "model"),
        ({"model": 5}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": "x"}, "messages"),
        (chat(temperature="hot"), "temperature"),
        (chat(max_tokens=0), "max_tokens"),
    ],
)
async def test_wrong_body_is_400_and_names_the_field(
    start_api: StartApi, start_router: StartRouter, body: object, param: str | None
) -> None:
    router = await start_router()
    api = await start_api(router)
    reply = await api.post(body)
    assert (reply.status, error(reply)["param"]) == (400, param)
    assert reply.headers["x-request-id"]
    assert not router.requests


async def test_body_that_is_too_large_is_413(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router(), max_body=1000)
    reply = await api.post(b"x" * 1001)
    assert (reply.status, error(reply)["code"]) == (413, "request_too_large")


async def test_estimates_learn_from_usage(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    long = chat(messages=[{"role": "user", "content": "x" * 4000}])
    for _ in range(3):
        await api.post(long)
    estimates = [int(call.header("x-headrace-cost").partition(",")[0]) for call in router.requests]
    assert estimates[0] > estimates[1] > 0

"""What is off unless somebody wants it: moderation of prompts, the cache of answers, the log of prompts."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from headrace.api.prompts import PromptLog, Redactor
from headrace.errors import ConfigError
from tests.api.conftest import CHAT, Api, StartApi, StartRouter, chat, error
from tests.fakes import Behaviour, Call, FakeRouter, answer, completion, pool, refuse, stream, tokens

PLAIN = b"".join(tokens(3, usage=False))


def tenant(api: Api) -> str:
    return api.service._store.tenants()[0].id


# ---- moderation ----


@pytest.fixture
def moderated(tmp_path: Path) -> Path:
    path = tmp_path / "aliases.yaml"
    path.write_text(json.dumps({"aliases": {"a": {"model": "m", "moderation": {"model": "judge", "threshold": 0.7}}}}))
    return path


def judge(score: float) -> Behaviour:
    """Gives every text this score."""

    async def behave(call: Call) -> None:
        one = {"label": "hate", "probs": [1 - score, score], "labels": ["safe", "hate"]}
        data = [one for _ in json.loads(call.body)["input"]]
        await answer(200, json.dumps({"data": data}).encode())(call)

    return behave


async def start_moderated(start_api: StartApi, start_router: StartRouter, aliases: Path) -> tuple[Api, FakeRouter]:
    router = await start_router("m")
    router.pools.append(pool("judge", modality="classification"))
    return await start_api(router, aliases=aliases), router


async def test_harmless_prompt_passes(start_api: StartApi, start_router: StartRouter, moderated: Path) -> None:
    api, router = await start_moderated(start_api, start_router, moderated)
    router.script = [judge(0.69)]
    assert (await api.post(chat("a"))).status == 200
    assert [call.path for call in router.requests] == ["/classify", "/v1/chat/completions"]
    assert router.requests[0].header("x-headrace-model") == "judge"


async def test_flagged_prompt_never_reaches_the_model(
    start_api: StartApi, start_router: StartRouter, moderated: Path
) -> None:
    api, router = await start_moderated(start_api, start_router, moderated)
    router.script = [judge(0.7)]
    reply = await api.post(chat("a"))
    assert (reply.status, error(reply)["code"]) == (400, "content_policy_violation")
    assert "hate" in error(reply)["message"]
    assert len(router.requests) == 1


async def test_every_text_is_read_in_pieces_that_overlap(
    start_api: StartApi, start_router: StartRouter, moderated: Path
) -> None:
    api, router = await start_moderated(start_api, start_router, moderated)
    router.script = [judge(0.1)]
    words = " ".join(f"w{number}" for number in range(1000))
    messages = [{"role": role, "content": f"{role} {words}"} for role in ("system", "user", "assistant", "user")]
    assert (await api.post(chat("a", messages=messages))).status == 200
    pieces = json.loads(router.requests[0].body)["input"]
    assert max(map(len, pieces)) <= 1000
    for number in range(1000):
        assert sum(f"w{number} " in f"{piece} " for piece in pieces) >= 4


@pytest.mark.parametrize("failure", [refuse(503, "overloaded"), answer(200, b"{}"), answer(200, b'{"data":[]}')])
async def test_what_cannot_be_checked_does_not_pass(
    start_api: StartApi, start_router: StartRouter, moderated: Path, failure: Behaviour
) -> None:
    api, router = await start_moderated(start_api, start_router, moderated)
    router.script = [failure]
    reply = await api.post(chat("a"))
    assert (reply.status, error(reply)["code"]) == (503, "moderation_unavailable")
    assert len(router.requests) == 1


@pytest.mark.parametrize("prompt", [[1, 2], [[1, 2], [3]]])
async def test_token_ids_do_not_slip_past_the_moderation(
    start_api: StartApi, start_router: StartRouter, moderated: Path, prompt: list[Any]
) -> None:
    api, router = await start_moderated(start_api, start_router, moderated)
    router.script = [judge(0.1)]
    reply = await api.post({"model": "a", "prompt": prompt}, path="/v1/completions")
    assert (reply.status, error(reply)["param"]) == (400, "prompt")
    assert not router.requests


@pytest.mark.parametrize(
    ("path", "extra"),
    [
        (CHAT, {"documents": [{"text": "hidden"}]}),
        (CHAT, {"chat_template_kwargs": {"tone": "hidden"}}),
        ("/v1/completions", {"prompt": "x", "messages": None, "suffix": "hidden"}),
    ],
    ids=["documents", "template", "suffix"],
)
async def test_text_in_other_fields_is_read_too(
    start_api: StartApi, start_router: StartRouter, moderated: Path, path: str, extra: dict[str, Any]
) -> None:
    api, router = await start_moderated(start_api, start_router, moderated)
    router.script = [judge(0.9)]
    assert (await api.post(chat("a", **extra), path=path)).status == 400
    assert any("hidden" in piece for piece in json.loads(router.requests[0].body)["input"])


# ---- the cache ----


async def cached(start_api: StartApi, start_router: StartRouter, **settings: Any) -> tuple[Api, FakeRouter]:
    router = await start_router()
    api = await start_api(router, cache={"nobody": 60}, **settings)
    api.service._gateway._cache._seconds = {tenant(api): 60}  # type: ignore[union-attr]
    return api, router


@pytest.mark.parametrize("streams", [False, True])
async def test_same_request_is_answered_from_the_cache(
    start_api: StartApi, start_router: StartRouter, streams: bool
) -> None:
    api, router = await cached(start_api, start_router)
    router.default = stream() if streams else answer()
    first, second = [await api.post(chat(stream=streams), key=key) for key in ("user", "admin")]
    assert first.body == second.body == (PLAIN if streams else completion())
    assert ("x-headrace-cache" in first.headers, second.headers["x-headrace-cache"]) == (False, "exact")
    assert len(router.requests) == 1
    await api.quiet()
    assert api.metric("llm_api_tokens_total", "m", "prompt") == 11


@pytest.mark.parametrize("other", [{"temperature": 0.5}, {"stream": True}, {"user": "x"}])
async def test_other_requests_are_others(start_api: StartApi, start_router: StartRouter, other: dict[str, Any]) -> None:
    api, router = await cached(start_api, start_router)
    await api.post(chat())
    router.default = stream() if "stream" in other else answer()
    await api.post(chat(**other))
    assert len(router.requests) == 2


async def test_what_only_the_client_sees_makes_another_request(start_api: StartApi, start_router: StartRouter) -> None:
    api, router = await cached(start_api, start_router)
    router.default = stream()
    await api.post(chat(stream=True))
    reply = await api.post(chat(stream=True, stream_options={"include_usage": True}))
    assert b'"usage"' in reply.body
    router.default = answer()
    ask = {"model": "m", "input": "Hello"}
    replies = [await api.post({**ask, "metadata": {"n": n}}, path="/v1/responses") for n in ("1", "2", "2")]
    assert [json.loads(reply.body)["metadata"]["n"] for reply in replies] == ["1", "2", "2"]
    assert len(router.requests) == 4


@pytest.mark.parametrize("control", ["no-cache", "max-age=0, No-Store"])
async def test_client_may_refuse_the_cache(start_api: StartApi, start_router: StartRouter, control: str) -> None:
    api, router = await cached(start_api, start_router)
    for _ in range(2):
        await api.post(chat(), cache_control=control)
    assert len(router.requests) == 2


async def test_failures_are_not_cached(start_api: StartApi, start_router: StartRouter) -> None:
    api, router = await cached(start_api, start_router)
    router.script = [refuse(503, "overloaded")]
    assert [(await api.post()).status for _ in range(2)] == [503, 200]


async def test_tenants_do_not_share(start_api: StartApi, start_router: StartRouter) -> None:
    api, router = await cached(start_api, start_router)
    store = api.service._store
    other = store.create_tenant("other", actor="test").id
    seconds = {tenant(api): 60, other: 60}
    api.service._gateway._cache._seconds = seconds  # type: ignore[union-attr]
    key = store.create(other, "x", actor="test")[1]
    for one in ("user", key, key):
        await api.post(chat(), key=one)
    assert len(router.requests) == 2


@pytest.mark.own_stores
async def test_without_the_store_answers_are_made(start_api: StartApi, start_router: StartRouter) -> None:
    api, router = await cached(start_api, start_router, redis="redis://127.0.0.1:1")
    assert [(await api.post()).status for _ in range(2)] == [200, 200]
    assert len(router.requests) == 2


async def test_by_default_nothing_is_cached(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    for _ in range(2):
        await api.post()
    assert len(router.requests) == 2


# ---- the log of prompts ----


async def test_prompts_of_those_who_agreed_are_logged(
    start_api: StartApi, start_router: StartRouter, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.jsonl"
    api = await start_api(await start_router(), prompt_log=path, prompt_log_tenants=["nobody"])
    await api.post(chat(messages=[{"role": "user", "content": "SECRET"}]))
    log = api.service._prompts
    assert log is not None
    log._tenants = frozenset({tenant(api)})
    await api.post(chat(messages=[{"role": "user", "content": "Hello, ann@example.com"}]))
    log._thread.submit(lambda: None).result()
    [line] = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert line["messages"] == [{"role": "user", "content": "Hello, [email]"}]
    assert (line["model"], line["tenant"]) == ("m", tenant(api))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("write to ann.b+c@mail.example.org!", "write to [email]!"),
        ("call +49 (30) 123-4567 now", "call [number] now"),
        ("card 4111 1111 1111 1111.", "card [number]."),
        ("DE89 3704 0044 0532 0130 00 it is", "[iban] it is"),
        ("from 192.168.0.17", "from [ip]"),
        ("key sk-abcdefghijklmnop1234", "key [secret]"),
        ("Authorization: Bearer abc.def.ghijklmnop", "Authorization: [secret]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "[secret]"),
        ("data:image/png;base64,iVBORw0KGgo=", "[media]"),
        ("badge E-1234", "badge [redacted]"),
        ("in 2026 there were 12 of 345", "in 2026 there were 12 of 345"),
    ],
)
def test_what_looks_personal_is_replaced(text: str, redacted: str) -> None:
    assert Redactor([r"E-\d{4}"]).value({"a": [text, 1, None]}) == {"a": [redacted, 1, None]}


def test_bad_settings_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a regular expression"):
        Redactor(["("])
    with pytest.raises(ConfigError, match="prompt_log"):
        PromptLog(tmp_path / "absent" / "file", ["t"], Redactor())

"""Aliases through llm-api: who may use them, what goes out, and which model answers in the end."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import CHAT, StartApi, StartRouter, chat, error
from tests.fakes import Behaviour, FakeRouter, answer, completion, held, pool, raw, refuse, stream, tokens
from tests.wire.peer import wait_for

PLAIN = b"".join(tokens(3, usage=False))


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write the file of aliases, by name."""
    path = tmp_path / "aliases.yaml"

    def write(**aliases: Any) -> Path:
        other = tmp_path / "new.yaml"
        other.write_text(json.dumps({"aliases": aliases}), encoding="utf-8")  # JSON is YAML
        os.replace(other, path)
        return path

    return write


def models(router: FakeRouter) -> list[str]:
    """Whom the requests went to, and whose name their bodies had."""
    for call in router.requests:
        assert json.loads(call.body)["model"] == call.header("x-headrace-model")
    return [call.header("x-headrace-model") for call in router.requests]


async def test_alias_resolves_and_shapes(start_api: StartApi, start_router: StartRouter, write: Any) -> None:
    router = await start_router()
    path = write(a={"model": "m", "system": "Be kind.", "defaults": {"temperature": 0.1}})
    api = await start_api(router, aliases=path)
    assert (await api.post(chat("a"))).status == 200
    sent = json.loads(router.requests[0].body)
    assert (sent["model"], sent["temperature"]) == ("m", 0.1)
    assert sent["messages"][0] == {"role": "system", "content": "Be kind."}
    [record] = await api.records(1)
    assert (record["model"], record["alias"]) == ("m", "a")


async def test_other_names_are_not_touched(start_api: StartApi, start_router: StartRouter, write: Any) -> None:
    router = await start_router()
    api = await start_api(router, aliases=write(a={"model": "m", "system": "Be kind."}))
    await api.post(chat("m"))
    assert json.loads(router.requests[0].body) == chat("m")
    assert "alias" not in (await api.records(1))[0]


async def test_a_key_needs_the_alias_and_not_its_models(
    start_api: StartApi, start_router: StartRouter, write: Any
) -> None:
    router = await start_router("m", "other")
    api = await start_api(router, aliases=write(a={"model": "m"}, m={"model": "other"}))
    reply = await api.post(chat("a"), key="limited")
    assert (reply.status, error(reply)["code"]) == (404, "model_not_found")
    assert error(reply)["message"].endswith("Models for you: m.")
    assert (await api.post(chat("m"), key="limited")).status == 200
    assert models(router) == ["other"]


async def test_aliases_are_listed(start_api: StartApi, start_router: StartRouter, write: Any) -> None:
    router = await start_router("m", "n")
    router.pools[0] |= {"context": 100, "workers": []}
    path = write(a={"model": "m", "fallbacks": ["n"]}, nowhere={"model": "absent"})
    api = await start_api(router, aliases=path)
    found = {model["id"]: model for model in json.loads((await api.get("/v1/models")).body)["data"]}
    assert sorted(found) == ["a", "m", "n"]
    assert (found["a"]["context_length"], found["a"]["headrace"]["status"]) == (100, "ready")
    assert json.loads((await api.get("/v1/models/a")).body) == found["a"]
    assert (await api.get("/v1/models/nowhere")).status == 404
    assert [m["id"] for m in json.loads((await api.get("/v1/models", key="limited")).body)["data"]] == ["m"]


async def test_change_of_the_file_is_followed(start_api: StartApi, start_router: StartRouter, write: Any) -> None:
    router = await start_router("m", "n")
    path = write(a={"model": "m"})
    api = await start_api(router, aliases=path)
    await api.post(chat("a"))
    write(a={"model": "n"})
    await wait_for(lambda: api.service._aliases.find("a").models == ["n"], "the new file")  # type: ignore[union-attr]
    await api.post(chat("a"))
    write(a={"modle": "n"})
    await wait_for(lambda: api.metric("llm_api_aliases_stale") == 1, "the metric")
    await api.post(chat("a"))
    assert models(router) == ["m", "n", "n"]


# ---- fallbacks ----

FALLBACK = {"model": "m", "fallbacks": ["n"]}


@pytest.mark.parametrize(
    "failure",
    [
        refuse(503, "overloaded"),
        refuse(500, "engine"),
        refuse(502, "bad_worker"),
        refuse(504, "timeout"),
        raw(b"no\r\n\r\n"),
    ],
    ids=["full", "broken", "gateway", "late", "nonsense"],
)
@pytest.mark.parametrize("streams", [False, True])
async def test_another_model_answers_where_one_fails(
    start_api: StartApi, start_router: StartRouter, write: Any, failure: Behaviour, streams: bool
) -> None:
    router = await start_router("m", "n")
    api = await start_api(router, aliases=write(a=FALLBACK))
    router.script = [failure, stream() if streams else answer()]
    reply = await api.post(chat("a", stream=streams))
    assert (reply.status, reply.body) == (200, PLAIN if streams else completion())
    assert models(router) == ["m", "n"]
    [record] = await api.records(1)
    assert (record["model"], record["prompt_tokens"]) == ("n", 11)
    assert "reason" not in record
    family = next(one for one in api.service.registry.snapshot() if one.name == "llm_api_fallbacks_total")
    assert [child.labels[:2] for child in family.children] == [("a", "m")]


@pytest.mark.parametrize(("status", "code"), [(400, "its_code"), (429, "its_code"), (500, "request_crashes_worker")])
async def test_what_is_no_failure_of_the_model_stays(
    start_api: StartApi, start_router: StartRouter, write: Any, status: int, code: str
) -> None:
    router = await start_router("m", "n")
    api = await start_api(router, aliases=write(a=FALLBACK))
    router.script = [refuse(status, code)]
    reply = await api.post(chat("a"))
    assert (reply.status, error(reply)["code"]) == (status, code)
    assert models(router) == ["m"]


async def test_last_models_error_is_told(start_api: StartApi, start_router: StartRouter, write: Any) -> None:
    router = await start_router("m", "n")
    api = await start_api(router, aliases=write(a=FALLBACK))
    router.script = [refuse(503, "first"), refuse(503, "second", ("Retry-After", "9"))]
    reply = await api.post(chat("a"))
    assert (reply.status, error(reply)["code"], reply.headers["retry-after"]) == (503, "second", "9")


async def test_model_without_a_worker_is_not_waited_for(
    start_api: StartApi, start_router: StartRouter, write: Any
) -> None:
    router = await start_router("m", "n")
    router.pools[0]["workers"] = []
    api = await start_api(router, aliases=write(a=FALLBACK))
    await api.post(chat("a"))
    assert models(router) == ["n"]


async def test_patience_is_told_to_the_router_and_kept(
    start_api: StartApi, start_router: StartRouter, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.api.forward._GRACE_SECONDS", 0.0)
    router = await start_router("m", "n")
    api = await start_api(router, aliases=write(a={**FALLBACK, "patience": 0.2}))
    router.script = [held(asyncio.Event(), answer()), answer()]
    assert (await api.post(chat("a"))).status == 200
    first, second = (int(call.header("x-headrace-deadline-ms")) for call in router.requests)
    assert first == 200
    assert 500_000 < second <= 600_000
    assert models(router) == ["m", "n"]


async def test_stream_that_has_begun_has_no_fallback(
    start_api: StartApi, start_router: StartRouter, write: Any
) -> None:
    router = await start_router("m", "n")
    api = await start_api(router, aliases=write(a=FALLBACK))
    event = b'data: {"error":{"message":"x","type":"server_error","param":null,"code":"worker_lost"}}\n\n'
    router.script = [stream(tokens(1)[0], event)]
    assert b"worker_lost" in (await api.post(chat("a", stream=True))).body
    assert models(router) == ["m"]


async def test_models_of_another_kind_are_left_out(start_api: StartApi, start_router: StartRouter, write: Any) -> None:
    router = await start_router("m")
    router.pools.append(pool("e", modality="embedding"))
    api = await start_api(router, aliases=write(a={"model": "m", "fallbacks": ["e"]}))
    assert (await api.post({"model": "a", "input": "x"}, path="/v1/embeddings")).status == 200
    reply = await api.post({"model": "a", "query": "x", "documents": ["y"]}, path="/v1/rerank")
    assert (reply.status, error(reply)["code"]) == (400, "wrong_modality")
    assert models(router) == ["e"]


async def test_alias_of_nothing_is_503(start_api: StartApi, start_router: StartRouter, write: Any) -> None:
    api = await start_api(await start_router(), aliases=write(a={"model": "absent"}))
    reply = await api.post(chat("a"))
    assert (reply.status, error(reply)["code"], reply.headers["retry-after"]) == (503, "no_worker", "10")


async def test_forbidden_extra_passes_where_the_alias_allows_it(
    start_api: StartApi, start_router: StartRouter, write: Any
) -> None:
    router = await start_router()
    api = await start_api(router, aliases=write(a={"model": "m", "allow": ["chat_template"]}))
    assert (await api.post({**chat("a"), "chat_template": "x"})).status == 200
    assert (await api.post({**chat("m"), "chat_template": "x"})).status == 400
    assert json.loads(router.requests[0].body)["chat_template"] == "x"


async def test_media_hosts_of_the_gateway(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router(), media_hosts=["Pictures.example"])
    for host, status in (("pictures.example", 200), ("other.example", 400)):
        part = {"type": "image_url", "image_url": {"url": f"https://{host}/x.png"}}
        reply = await api.post(chat(messages=[{"role": "user", "content": [part]}]), path=CHAT)
        assert reply.status == status

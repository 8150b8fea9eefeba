"""The OpenAPI document, and what llm-api makes of requests that follow it or do not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from headrace.api.openapi import PUBLIC, render
from tests.api.conftest import StartApi, StartRouter, chat, error
from tests.fakes import Call, answer, pool, stream
from tests.schema import fuzz

MODALITIES = ("embedding", "rerank", "classification")
PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/tokenize", "/v1/embeddings")


async def test_document_needs_no_key(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router())
    reply = await api.get("/openapi.json", key="")
    assert reply.status == 200
    assert reply.body == render("Headrace", PUBLIC)
    assert json.loads(reply.body)["openapi"] == "3.1.0"


async def test_document_names_every_route(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router())
    paths = json.loads((await api.get("/openapi.json")).body)["paths"]
    named = {(method.upper(), path.partition("{")[0]) for path, methods in paths.items() for method in methods}
    routes = api.service.routes
    there = {(method, path) for table in (routes._exact, routes._prefixes) for path in table for method in table[path]}
    assert named == there - {("GET", "/openapi.json"), ("*", "/admin/v1/")}  # which has a document of its own


def test_what_it_refers_to_is_there() -> None:
    text = render("Headrace", PUBLIC).decode()
    names = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert names <= set(json.loads(text)["components"]["schemas"])


KINDS = {"/v1/embeddings": "e", "/v1/rerank": "r", "/v1/score": "r", "/v1/classify": "c", "/v1/moderations": "c"}
ANSWERS = {
    "/classify": {"id": "c", "model": "c", "data": [{"index": 0, "label": "bad", "probs": [0.1, 0.9]}]},
    "/v1/rerank": {"id": "r", "model": "r", "results": []},
    "/tokenize": {"count": 1, "tokens": [1], "max_model_len": 10},
}


async def answer_in_kind(call: Call) -> None:
    """As a worker does at each path, streams included."""
    found = ANSWERS.get(call.path)
    if json.loads(call.body).get("stream"):
        await stream()(call)
    else:
        await answer(200, None if found is None else json.dumps(found).encode())(call)


def name_a_model(case: Any) -> None:
    if isinstance(case.body, dict) and "model" in case.body:
        case.body["model"] = KINDS.get(case.path, "m")
    if "id" in case.path_parameters:
        case.path_parameters["id"] = "m"


@pytest.mark.own_stores
async def test_made_up_requests_never_break_anything(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router("m")
    router.pools += [pool(name, modality=kind) for name, kind in zip("erc", MODALITIES, strict=True)]
    router.default = answer_in_kind
    api = await start_api(router)
    url = f"http://{api.address[0]}:{api.address[1]}"
    headers = {"authorization": f"Bearer {api.keys['user']}"}
    document = render("Headrace", PUBLIC)
    statuses = await asyncio.to_thread(fuzz, document, url, headers, examples=12, prepare=name_a_model)
    assert min(statuses[200], statuses[400]) > 50


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ("application/json;charset=latin-1", 400),
        ("text/plain", 400),
        ("application/x-www-form-urlencoded", 400),
        ("multipart/form-data; boundary=x", 400),
    ],
)
async def test_body_must_be_called_json(start_api: StartApi, start_router: StartRouter, kind: str, status: int) -> None:
    api = await start_api(await start_router())
    reply = await api.post(chat(), content_type=kind)
    assert reply.status == status
    if status == 400:
        assert error(reply)["code"] == "unsupported_content_type"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":NaN}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":Infinity}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":1e999}',
        b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"\xed\xa0\x80"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"seed":%b}' % (b"9" * 100),
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":%b}' % (b"9" * 5000),
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":%b}' % (b"[" * 50_000 + b"]" * 50_000),
        b'\xef\xbb\xbf{"model":"m"}',
        b"\x1f\x8b\x08",
    ],
    ids=["NaN", "infinity", "1e999", "surrogate", "utf-8 surrogate", "seed", "digits", "nested", "BOM", "gzip"],
)
@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/tokenize", "/v1/embeddings"]
)
async def test_bytes_that_are_no_json_of_ours_are_400(
    start_api: StartApi, start_router: StartRouter, body: bytes, path: str
) -> None:
    api = await start_api(await start_router())
    reply = await api.post(body, path=path)
    assert reply.status == 400
    assert json.loads(reply.body)["error"]["message"]

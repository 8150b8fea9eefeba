from __future__ import annotations

import json

import pytest

from tests.api.conftest import StartApi, StartRouter, error
from tests.fakes import pool


async def test_models_are_those_of_the_key(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router("m", "org/other"))
    document = json.loads((await api.get("/v1/models")).body)
    assert document["object"] == "list"
    assert [model["id"] for model in document["data"]] == ["m", "org/other"]
    document = json.loads((await api.get("/v1/models", key="limited")).body)
    assert [model["id"] for model in document["data"]] == ["m"]


@pytest.mark.parametrize("path", ["org/name", "org%2Fname"])
async def test_one_model_by_a_name_with_a_slash(start_api: StartApi, start_router: StartRouter, path: str) -> None:
    api = await start_api(await start_router("org/name"))
    reply = await api.get(f"/v1/models/{path}")
    assert reply.headers["x-request-id"]
    document = json.loads(reply.body)
    assert (document["id"], document["object"], document["owned_by"]) == ("org/name", "model", "headrace")
    assert (document["context_length"], document["modality"], document["parent"]) == (4096, "text", None)


@pytest.mark.parametrize(
    ("modality", "inputs", "outputs"),
    [
        ("text", ["text", "image"], ["text"]),
        ("embedding", ["text"], ["embeddings"]),
        ("rerank", ["text"], ["rerank"]),
        ("classification", ["text"], ["classification"]),
    ],
)
async def test_model_says_what_goes_in_and_comes_out(
    start_api: StartApi, start_router: StartRouter, modality: str, inputs: list[str], outputs: list[str]
) -> None:
    router = await start_router()
    router.pools[0].update(modality=modality, inputs=inputs)
    api = await start_api(router)
    document = json.loads((await api.get("/v1/models/m")).body)
    assert document["architecture"] == {"input_modalities": inputs, "output_modalities": outputs}


async def test_router_of_the_version_before_says_nothing_of_inputs(
    start_api: StartApi, start_router: StartRouter
) -> None:
    router = await start_router()
    del router.pools[0]["inputs"]
    api = await start_api(router)
    document = json.loads((await api.get("/v1/models/m")).body)
    assert document["architecture"]["input_modalities"] == ["text"]


@pytest.mark.parametrize("name", ["hidden", "absent"])
async def test_model_that_the_key_may_not_use_is_404(start_api: StartApi, start_router: StartRouter, name: str) -> None:
    api = await start_api(await start_router("m", "hidden"))
    reply = await api.get(f"/v1/models/{name}", key="limited")
    found = error(reply)
    assert (reply.status, found["code"]) == (404, "model_not_found")
    assert found["message"].endswith("Models for you: m.")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("ready", "ready"),
        ("starting", "loading"),
        ("unknown", "loading"),
        ("down", "unavailable"),
        ("draining", "unavailable"),
        ("misnamed", "unavailable"),
        ("of a newer router", "unavailable"),
    ],
)
async def test_status_of_a_model(start_api: StartApi, start_router: StartRouter, state: str, status: str) -> None:
    router = await start_router(state=state)
    router.pools[0]["wait_ms"] = 1500
    api = await start_api(router)
    document = json.loads((await api.get("/v1/models/m")).body)
    assert document["headrace"] == {"status": status, "wait_ms": 1500}


async def test_listing_is_logged(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router())
    await api.get("/v1/models")
    await api.get("/v1/models/m")
    assert [(record["path"], record["status"]) for record in await api.records(2)] == [
        ("/v1/models", 200),
        ("/v1/models/{id}", 200),
    ]


async def test_new_model_is_seen_at_the_next_look(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    router.pools.append(pool("new"))
    await api.look()
    assert (await api.get("/v1/models/new")).status == 200

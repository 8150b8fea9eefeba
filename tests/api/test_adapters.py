"""LoRA adapters: their names are models to clients, and their base model's workers serve them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.api.conftest import Api, StartApi, StartRouter, chat, error
from tests.fakes import FakeRouter, answer, pool

LONG = "x" * 1000


async def start(start_api: StartApi, start_router: StartRouter, *names: str) -> tuple[Api, FakeRouter]:
    router = await start_router()
    router.pools[:] = [pool("base", adapters=names or ("pirate",)), pool("m")]
    return await start_api(router), router


async def test_adapter_is_asked_for_by_its_name(start_api: StartApi, start_router: StartRouter) -> None:
    api, router = await start(start_api, start_router)
    assert (await api.post(chat("pirate"))).status == 200
    [call] = router.requests
    assert (call.header("x-headrace-model"), call.header("x-headrace-adapter")) == ("base", "pirate")
    assert json.loads(call.body)["model"] == "pirate"  # an engine tells them apart by that
    [record] = await api.records(1)
    assert record["model"] == "pirate"
    assert await api.service._ledger.flush()
    with api.service._store.database.read() as session:
        assert session.scalars(text("SELECT model FROM usage_records")).all() == ["pirate"]


async def test_base_model_is_asked_without_it(start_api: StartApi, start_router: StartRouter) -> None:
    api, router = await start(start_api, start_router)
    await api.post(chat("base"))
    assert not router.requests[0].header("x-headrace-adapter")


async def test_their_prefixes_are_not_each_others(start_api: StartApi, start_router: StartRouter) -> None:
    api, router = await start(start_api, start_router)
    for model in ("base", "pirate"):
        await api.post(chat(model, messages=[{"role": "user", "content": LONG}]))
    one, two = (call.header("x-headrace-prefix") for call in router.requests)
    assert one[:16] != two[:16]


async def test_adapters_are_listed_with_their_base(start_api: StartApi, start_router: StartRouter) -> None:
    api, _ = await start(start_api, start_router, "org/b", "a")
    listed = json.loads((await api.get("/v1/models")).body)["data"]
    assert [(model["id"], model["parent"]) for model in listed] == [
        ("a", "base"),
        ("base", None),
        ("m", None),
        ("org/b", "base"),
    ]
    one = json.loads((await api.get("/v1/models/org%2Fb")).body)
    assert (one["parent"], one["context_length"], one["headrace"]["status"]) == ("base", 4096, "ready")


async def test_allowed_models_are_for_adapters_too(start_api: StartApi, start_router: StartRouter) -> None:
    api, router = await start(start_api, start_router)
    store = api.service._store
    key = store.create(store.tenants()[0].id, "adapter only", models=["pirate"], actor="test")[1]
    assert (await api.post(chat("pirate"), key=key)).status == 200
    for model, who in (("base", key), ("pirate", "limited")):
        reply = await api.post(chat(model), key=who)
        assert (reply.status, error(reply)["code"]) == (404, "model_not_found")
    listed = json.loads((await api.get("/v1/models", key=key)).body)["data"]
    assert [model["id"] for model in listed] == ["pirate"]
    assert len(router.requests) == 1


async def test_a_pool_goes_before_an_adapter_of_its_name(start_api: StartApi, start_router: StartRouter) -> None:
    api, router = await start(start_api, start_router, "m")
    await api.post(chat("m"))
    assert router.requests[0].header("x-headrace-model") == "m"
    assert not router.requests[0].header("x-headrace-adapter")


async def test_it_stays_while_its_workers_are_away_and_goes_when_they_let_it_go(
    start_api: StartApi, start_router: StartRouter
) -> None:
    api, router = await start(start_api, start_router)
    for state, adapters, status in (("down", [], "unavailable"), ("ready", ["pirate"], "ready")):
        router.pools[0].update(adapters=adapters, workers=[{"name": "w:1", "state": state}])
        await api.look()
        assert json.loads((await api.get("/v1/models/pirate")).body)["headrace"]["status"] == status
    router.pools[0]["adapters"] = []
    await api.look()
    assert (await api.post(chat("pirate"))).status == 404


async def test_an_alias_may_stand_for_one(start_api: StartApi, start_router: StartRouter, tmp_path: Path) -> None:
    aliases = tmp_path / "aliases.yaml"
    aliases.write_text("aliases:\n  captain:\n    model: pirate\n")
    router = await start_router()
    router.pools[:] = [pool("base", adapters=("pirate",))]
    api = await start_api(router, aliases=str(aliases))
    assert (await api.post(chat("captain"))).status == 200
    assert router.requests[0].header("x-headrace-adapter") == "pirate"


@pytest.mark.parametrize("model", ["base", "pirate"])
async def test_length_is_counted_by_the_bases_tokenizer(
    start_api: StartApi, start_router: StartRouter, model: str
) -> None:
    router = await start_router()
    router.pools[:] = [pool("base", adapters=("pirate",), context=100)]
    router.script = [answer(200, b'{"count":101}')]
    api = await start_api(router)
    reply = await api.post(chat(model, messages=[{"role": "user", "content": "a b " * 90}]))
    assert (reply.status, error(reply)["code"]) == (400, "context_length_exceeded")
    [call] = router.requests
    assert (call.path, call.header("x-headrace-model")) == ("/tokenize", "base")

"""Stored responses, through the official SDK."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import openai
import pytest

from headrace.errors import StoreError
from headrace.store.objects.responses import StoredResponse
from tests.api.conftest import Api, StartApi, StartRouter, error
from tests.fakes import FakeRouter, answer, event, refuse, stream
from tests.wire.peer import PATIENCE, wait_for

WEATHER: Any = {"type": "function", "name": "weather"}


def said(name: str, text: str, **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {"id": f"chatcmpl-{name}", "model": "m", "created": 1, "choices": [choice], "usage": usage}


def says(name: str, text: str, **message: Any) -> Any:
    return answer(200, json.dumps(said(name, text, **message)).encode())


def streams(name: str, text: str) -> Any:
    head = {"id": f"chatcmpl-{name}", "model": "m", "created": 1}
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    return stream(event({**head, "choices": [choice]}), event({**head, "choices": [end]}), b"data: [DONE]\n\n")


def sent(router: FakeRouter) -> list[dict[str, Any]]:
    """The messages of the last request."""
    messages: list[dict[str, Any]] = json.loads(router.requests[-1].body)["messages"]
    return messages


class Sdk:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._clients: list[openai.AsyncOpenAI] = []

    def client(self, key: str = "user") -> openai.AsyncOpenAI:
        url = f"http://{self._api.address[0]}:{self._api.address[1]}/v1"
        client = openai.AsyncOpenAI(base_url=url, api_key=self._api.keys[key], max_retries=0)
        self._clients.append(client)
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


@pytest.fixture
async def router(start_router: StartRouter) -> FakeRouter:
    return await start_router()


@pytest.fixture
async def api(start_api: StartApi, router: FakeRouter) -> Api:
    return await start_api(router)


@pytest.fixture
async def sdk(api: Api) -> AsyncIterator[Sdk]:
    sdk = Sdk(api)
    yield sdk
    await sdk.close()


async def written(api: Api) -> None:
    await wait_for(lambda: not api.service._shelf._waiting, "the responses to be stored")


@pytest.mark.parametrize("wait", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_conversation_goes_on(api: Api, router: FakeRouter, sdk: Sdk, wait: bool, streamed: bool) -> None:
    client = sdk.client()
    router.script = [streams("1", "Hi.") if streamed else says("1", "Hi."), says("2", "Ten."), says("3", "Bye.")]
    if streamed:
        async for _ in await client.responses.create(model="m", input="Hello", instructions="Be kind.", stream=True):
            pass
    else:
        await client.responses.create(model="m", input="Hello", instructions="Be kind.")
    if wait:
        await written(api)
    second = await client.responses.create(model="m", input="Count.", previous_response_id="resp_1")
    assert second.to_dict()["store"] is True
    assert second.previous_response_id == "resp_1"
    assert sent(router) == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "Count."},
    ]
    await client.responses.create(model="m", input="End.", instructions="Be brief.", previous_response_id=second.id)
    assert [message["role"] for message in sent(router)] == ["system", *["user", "assistant"] * 2, "user"]


async def test_tool_calls_are_part_of_the_conversation(api: Api, router: FakeRouter, sdk: Sdk) -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    router.script = [says("1", "", tool_calls=[call]), says("2", "Sunny.")]
    client = sdk.client()
    await client.responses.create(model="m", input="Weather?", tools=[WEATHER])
    await client.responses.create(
        model="m",
        input=[{"type": "function_call_output", "call_id": "call_1", "output": "sun"}],
        previous_response_id="resp_1",
    )
    assert [message["role"] for message in sent(router)] == ["user", "assistant", "tool"]
    assert sent(router)[1]["tool_calls"][0]["id"] == sent(router)[2]["tool_call_id"] == "call_1"


async def test_response_can_be_fetched_and_deleted(api: Api, router: FakeRouter, sdk: Sdk) -> None:
    router.script = [says("1", "Hi.")]
    client = sdk.client()
    first = await client.responses.create(model="m", input="Hello")
    await written(api)
    assert await client.responses.retrieve(first.id) == first
    [item] = (await client.responses.input_items.list(first.id)).data
    assert item.to_dict()["content"] == [{"type": "input_text", "text": "Hello"}]
    await client.responses.delete(first.id)
    for job in (client.responses.retrieve(first.id), client.responses.delete(first.id)):
        with pytest.raises(openai.NotFoundError):
            await job


async def test_deleted_before_it_was_written(api: Api, router: FakeRouter, sdk: Sdk) -> None:
    router.script = [says("1", "Hi.")]
    client = sdk.client()
    first = await client.responses.create(model="m", input="Hello")
    await client.responses.delete(first.id)
    await written(api)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)


async def test_deleted_while_it_is_written(
    api: Api, router: FakeRouter, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = api.service._shelf._store
    assert store is not None
    began, go_on, over, add = threading.Event(), threading.Event(), threading.Event(), store.add

    def slowly(responses: Sequence[StoredResponse]) -> None:
        began.set()
        assert go_on.wait(PATIENCE)
        add(responses)
        over.set()

    monkeypatch.setattr(store, "add", slowly)
    router.script = [says("1", "Hi.")]
    client = sdk.client()
    first = await client.responses.create(model="m", input="Hello")
    await wait_for(began.is_set, "the write")
    deleting = asyncio.create_task(client.responses.delete(first.id))
    await asyncio.wait({deleting}, timeout=0.5)  # it would be over by now if it did not wait for the write
    go_on.set()
    await wait_for(over.is_set, "the end of the write")
    await deleting
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)


async def test_store_false_is_obeyed(api: Api, router: FakeRouter, sdk: Sdk) -> None:
    router.script = [says("1", "Hi.")]
    first = await sdk.client().responses.create(model="m", input="Hello", store=False)
    assert first.to_dict()["store"] is False
    with pytest.raises(openai.NotFoundError):
        await sdk.client().responses.retrieve(first.id)


async def test_another_tenant_sees_nothing(api: Api, router: FakeRouter, sdk: Sdk) -> None:
    store = api.service._store
    tenant = store.create_tenant("other", actor="test").id
    api.keys = {**api.keys, "other": store.create(tenant, "other", actor="test")[1]}
    router.script = [says("1", "Hi.")]
    first = await sdk.client().responses.create(model="m", input="Hello")
    for stage in ("waiting", "written"):
        other = sdk.client("other").responses
        for job in (
            other.retrieve(first.id),
            other.input_items.list(first.id),
            other.delete(first.id),
            other.create(model="m", input="x", previous_response_id=first.id),
        ):
            with pytest.raises(openai.NotFoundError):
                await job
        if stage == "waiting":
            await written(api)
    assert (await sdk.client().responses.retrieve(first.id)).id == first.id


async def test_failures_are_not_stored(api: Api, router: FakeRouter, sdk: Sdk) -> None:
    router.script = [refuse(503, "overloaded")]
    with pytest.raises(openai.InternalServerError):
        await sdk.client().responses.create(model="m", input="Hello")
    assert not api.service._shelf._waiting


async def test_expired_ones_are_gone(api: Api, router: FakeRouter, sdk: Sdk) -> None:
    router.script = [says("1", "Hi.")]
    first = await sdk.client().responses.create(model="m", input="Hello")
    await written(api)
    store = api.service._shelf._store
    assert store is not None
    store._clock = lambda: time.time() + 31 * 86_400
    with pytest.raises(openai.NotFoundError):
        await sdk.client().responses.retrieve(first.id)
    store.expire()
    store._clock = time.time
    with pytest.raises(openai.NotFoundError):
        await sdk.client().responses.retrieve(first.id)


async def test_where_nothing_is_stored_clients_are_told(start_api: StartApi, router: FakeRouter) -> None:
    api = await start_api(router, responses_days=0)
    body = {"model": "m", "input": "x"}
    router.default = says("1", "Hi.")
    assert json.loads((await api.post(body, path="/v1/responses")).body)["store"] is False
    for field in ({"store": True}, {"previous_response_id": "resp_1"}):
        reply = await api.post({**body, **field}, path="/v1/responses")
        assert (reply.status, error(reply)["param"]) == (400, next(iter(field)))


async def test_database_that_is_away_for_a_while(
    api: Api, router: FakeRouter, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = api.service._shelf._store
    assert store is not None
    monkeypatch.setattr("headrace.api.shelf._PATIENCE", 0.05)

    def fail(*_: Any) -> Any:
        raise StoreError("away")

    with monkeypatch.context() as away:
        away.setattr(store, "add", fail)
        away.setattr(store, "get", fail)
        router.script = [says("1", "Hi.")]
        first = await sdk.client().responses.create(model="m", input="Hello")
        assert (await sdk.client().responses.retrieve(first.id)).id == first.id
        reply = await api.get("/v1/responses/resp_other")
        assert (reply.status, error(reply)["code"]) == (503, "store_unavailable")
        await asyncio.sleep(0.1)
        assert api.service._shelf._waiting
    await written(api)
    assert (await sdk.client().responses.retrieve(first.id)).id == first.id


async def test_what_waits_has_a_bound(api: Api, router: FakeRouter, sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.api.shelf._LARGEST", 100)
    router.script = [says("1", "Hi.")]
    await sdk.client().responses.create(model="m", input="Hello")
    assert not api.service._shelf._waiting
    assert api.metric("llm_api_responses_dropped_total") == 1


async def test_other_paths_below_are_not_there(api: Api) -> None:
    assert (await api.get("/v1/responses/resp_1/more")).status == 404

"""``Idempotency-Key``: sent twice, worked on once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from headrace.api import idempotency
from headrace.errors import StoreError
from tests.api.conftest import Api, StartApi, StartRouter, chat, error
from tests.fakes import Behaviour, answer, chunk, completion, held, raw, refuse, silence, stream, stream_head, tokens
from tests.wire.peer import PATIENCE, wait_for

PLAIN = b"".join(tokens(3, usage=False))


async def post(api: Api, body: object = None, *, idem: str = "one", **options: str) -> Any:
    return await api.post(body, **{"idempotency-key": idem}, **options)


@pytest.mark.parametrize("streams", [False, True])
async def test_repeat_gets_the_same_answer_and_nothing_is_billed(
    start_api: StartApi, start_router: StartRouter, streams: bool
) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [stream() if streams else answer()]
    first, second = [await post(api, chat(stream=streams)) for _ in range(2)]
    assert first.body == second.body == (PLAIN if streams else completion())
    assert first.headers["content-type"] == second.headers["content-type"]
    assert (second.headers["idempotent-replayed"], "idempotent-replayed" in first.headers) == ("true", False)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert len(router.requests) == 1
    await api.quiet()
    assert api.metric("llm_api_tokens_total", "m", "prompt") == 11
    again = (await api.records(2))[1]
    assert again["replayed"]
    assert "prompt_tokens" not in again


async def test_translated_answers_are_replayed_too(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    first, second = [await post(api, body, path="/v1/messages") for _ in range(2)]
    assert json.loads(first.body)["type"] == "message"
    assert first.body == second.body
    assert second.headers["request-id"]
    assert len(router.requests) == 1


async def test_repeat_while_the_first_runs_is_409(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    go = asyncio.Event()
    router.script = [held(go, answer())]
    first = await api.send(chat(), **{"idempotency-key": "one"})
    await wait_for(lambda: bool(router.requests), "the request")
    second = await post(api)
    assert (second.status, error(second)["code"]) == (409, "idempotency_in_progress")
    assert int(second.headers["retry-after"]) >= 1
    go.set()
    assert (await first.reply()).status == 200
    assert (await post(api)).status == 200
    assert len(router.requests) == 1


@pytest.mark.parametrize("change", [{"body": chat(temperature=0.5)}, {"path": "/v1/completions"}])
async def test_another_request_under_the_key_is_422(
    start_api: StartApi, start_router: StartRouter, change: dict[str, Any]
) -> None:
    api = await start_api(await start_router())
    await post(api, chat())
    reply = await post(api, **{"body": chat(), **change})
    assert (reply.status, error(reply)["code"]) == (422, "idempotency_key_reused")


async def test_keys_of_others_are_others(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    for key, idem in (("user", "one"), ("admin", "one"), ("user", "two")):
        assert (await post(api, key=key, idem=idem)).status == 200
    assert len(router.requests) == 3


@pytest.mark.parametrize(
    "failure",
    [
        refuse(503, "overloaded"),
        refuse(400, "no"),
        stream(tokens(1)[0], b'data: {"error":{"message":"x","type":"server_error","code":"worker_lost"}}\n\n'),
        raw(stream_head() + chunk(tokens(1)[0]), "reset"),
    ],
    ids=["503", "400", "error event", "broken"],
)
async def test_what_is_no_complete_success_may_be_tried_again(
    start_api: StartApi, start_router: StartRouter, failure: Behaviour
) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [failure, stream()]
    await post(api, chat(stream=True))
    await api.quiet()
    reply = await post(api, chat(stream=True))
    assert (reply.status, reply.body, len(router.requests)) == (200, PLAIN, 2)


async def test_client_that_leaves_frees_the_key(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [silence]
    peer = await api.send(chat(), **{"idempotency-key": "one"})
    await wait_for(lambda: bool(router.requests), "the request")
    peer.close()
    await api.quiet()
    assert (await post(api, chat())).status == 200


async def test_answer_that_is_too_large_is_not_kept(
    start_api: StartApi, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "_KEPT_BYTES", 100)
    router = await start_router()
    api = await start_api(router)
    assert [(await post(api)).status for _ in range(2)] == [200, 200]
    assert len(router.requests) == 2


@pytest.mark.parametrize("key", ["x" * 256, "\u00e9"])
async def test_bad_key_is_400(start_api: StartApi, start_router: StartRouter, key: str) -> None:
    api = await start_api(await start_router())
    reply = await post(api, idem=key)
    assert (reply.status, error(reply)["code"]) == (400, "bad_header")


async def test_claim_outlives_its_lease_while_the_work_goes_on(
    start_api: StartApi, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "_LEASE", 0.3)
    router = await start_router()
    api = await start_api(router)
    go = asyncio.Event()
    router.script = [held(go, answer())]
    first = await api.send(chat(), **{"idempotency-key": "one"})
    await wait_for(lambda: bool(router.requests), "the request")
    await asyncio.sleep(0.7)
    assert (await post(api)).status == 409
    go.set()
    await first.reply()


class Slow:
    """Holds up what is to be kept, until it may go on."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self._put = api.service._keep.put
        monkeypatch.setattr(api.service._keep, "put", self._wait)

    async def _wait(self, name: str, value: bytes, seconds: float) -> None:
        self.asked.set()
        await self.go.wait()
        await self._put(name, value, seconds)


@pytest.mark.parametrize("streams", [False, True])
async def test_answer_is_kept_before_its_last_byte_leaves(
    start_api: StartApi, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    router = await start_router()
    router.default = stream() if streams else answer()
    api = await start_api(router)
    slow = Slow(api, monkeypatch)
    peer = await api.send(chat(stream=streams), **{"idempotency-key": "one"})
    reply = asyncio.create_task(peer.reply())
    await asyncio.wait_for(slow.asked.wait(), PATIENCE)
    assert (await api.post()).status == 200  # others go on, and what was written in that turn is out
    assert not reply.done()
    assert api.service._ledger.booked == 2  # billed it is
    slow.go.set()
    assert (await reply).body == (PLAIN if streams else completion())
    again = await post(api, chat(stream=streams))
    assert again.headers["idempotent-replayed"] == "true"


async def test_client_that_leaves_before_the_last_byte_gets_the_answer_the_next_time(
    start_api: StartApi, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = await start_router()
    api = await start_api(router)
    slow = Slow(api, monkeypatch)
    peer = await api.send(chat(), **{"idempotency-key": "one"})
    await asyncio.wait_for(slow.asked.wait(), PATIENCE)
    peer.close()
    assert (await api.post()).status == 200
    slow.go.set()
    await api.quiet()
    monkeypatch.undo()
    assert (await post(api, chat())).headers["idempotent-replayed"] == "true"
    assert len(router.requests) == 2


async def test_answer_that_cannot_be_kept_is_sent_all_the_same(
    start_api: StartApi, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = await start_router()
    api = await start_api(router)

    async def fail(name: str, value: bytes, seconds: float) -> None:
        raise StoreError("away")

    monkeypatch.setattr(api.service._keep, "put", fail)
    assert [(await post(api)).status for _ in range(2)] == [200, 200]
    assert len(router.requests) == 2


@pytest.mark.own_stores
async def test_where_the_store_is_away_nobody_guesses(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router, redis="redis://127.0.0.1:1")
    reply = await post(api)
    assert (reply.status, error(reply)["code"]) == (503, "idempotency_unavailable")
    assert (await api.post()).status == 200
    assert len(router.requests) == 1

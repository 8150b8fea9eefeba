"""Files and batches through the official SDK."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import openai
import pytest

from headrace.api.batches import endpoints as endpoints_module
from headrace.api.batches import runner as runner_module
from headrace.store.database import Database
from headrace.store.objects.batches import BatchStore
from tests.api.conftest import Api, StartApi, StartRouter, error
from tests.fakes import Call, FakeRouter, answer, completion, refuse
from tests.wire.peer import wait_for

LINE = {"method": "POST", "url": "/v1/chat/completions"}


def lines(count: int, **body: Any) -> bytes:
    message = {"model": "m", "messages": [{"role": "user", "content": "x"}], **body}
    return b"".join(
        json.dumps({"custom_id": f"r{number}", **LINE, "body": {**message, "seed": number}}).encode() + b"\n"
        for number in range(count)
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_LOOK_SECONDS", "_NOTE_SECONDS", "_RENEW_SECONDS"):
        monkeypatch.setattr(runner_module, name, 0.05)


@pytest.fixture
async def router(start_router: StartRouter) -> FakeRouter:
    return await start_router()


@pytest.fixture
async def api(start_api: StartApi, router: FakeRouter) -> Api:
    return await start_api(router)


@pytest.fixture
async def client(api: Api) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"http://{api.address[0]}:{api.address[1]}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=api.keys["user"], max_retries=0) as client:
        yield client


async def start(client: openai.AsyncOpenAI, data: bytes, endpoint: Any = "/v1/chat/completions") -> str:
    file = await client.files.create(file=("in.jsonl", data), purpose="batch")
    batch = await client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")
    return batch.id


async def end(client: openai.AsyncOpenAI, batch_id: str) -> Any:
    """The batch, when it is over."""
    async with asyncio.timeout(30):
        while True:
            batch = await client.batches.retrieve(batch_id)
            if batch.status in {"completed", "failed", "cancelled", "expired"}:
                return batch
            await asyncio.sleep(0.05)


async def completed(client: openai.AsyncOpenAI, batch_id: str) -> int:
    counts = (await client.batches.retrieve(batch_id)).request_counts
    assert counts is not None
    return counts.completed


async def results(client: openai.AsyncOpenAI, file_id: str | None) -> dict[str, Any]:
    assert file_id is not None
    text = (await client.files.content(file_id)).text
    return {line["custom_id"]: line for line in map(json.loads, text.splitlines())}


# ---- files ----


async def test_file_is_kept_listed_and_deleted(client: openai.AsyncOpenAI) -> None:
    data = bytes(range(256)) * 10_000
    file = await client.files.create(file=("dir/a.bin", data), purpose="user_data")
    assert (file.filename, file.bytes, file.purpose, file.status) == ("a.bin", len(data), "user_data", "processed")
    assert (await client.files.content(file.id)).content == data
    assert await client.files.retrieve(file.id) == file
    others = [await client.files.create(file=(f"{number}", b"x"), purpose="batch") for number in range(3)]
    listed = [one.id async for one in client.files.list(limit=2)]
    assert listed == [*(other.id for other in reversed(others)), file.id]
    assert [one.id async for one in client.files.list(purpose="user_data", order="asc")] == [file.id]
    assert (await client.files.delete(file.id)).deleted
    for job in (client.files.retrieve(file.id), client.files.content(file.id), client.files.delete(file.id)):
        with pytest.raises(openai.NotFoundError):
            await job


async def test_uploads_that_wait_for_the_database_are_bounded(
    api: Api, client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints_module, "_STORING", 3000)
    files = api.service._desk._files
    begun, go = threading.Event(), threading.Event()
    add = files.add

    def slow(*args: Any, **options: Any) -> Any:
        begun.set()
        assert go.wait(30)
        return add(*args, **options)

    monkeypatch.setattr(files, "add", slow)
    first = asyncio.create_task(client.files.create(file=("a", bytes(2000)), purpose="batch"))
    assert await asyncio.to_thread(begun.wait, 30)
    with pytest.raises(openai.InternalServerError) as refused:
        await client.files.create(file=("b", bytes(2000)), purpose="batch")
    assert (refused.value.status_code, refused.value.response.headers["retry-after"]) == (503, "2")
    go.set()
    assert (await first).bytes == 2000
    assert (await client.files.create(file=("b", bytes(4000)), purpose="batch")).bytes == 4000  # one passes always


async def test_upload_may_be_larger_than_other_bodies(start_api: StartApi, router: FakeRouter) -> None:
    api = await start_api(router, max_body=1000, max_upload=100_000, files_quota=120_000)
    url = f"http://{api.address[0]}:{api.address[1]}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=api.keys["user"], max_retries=0) as client:
        await client.files.create(file=("a", bytes(80_000)), purpose="batch")
        for size, code in ((110_000, "request_too_large"), (80_000, "file_quota_exceeded")):
            with pytest.raises(openai.APIStatusError) as caught:
                await client.files.create(file=("a", bytes(size)), purpose="batch")
            assert (caught.value.status_code, caught.value.code) == (413, code)
        await client.files.create(file=("a", bytes(30_000)), purpose="batch")


SOON = {"anchor": "created_at", "seconds": 1}


@pytest.mark.parametrize(
    ("form", "param"),
    [({"purpose": "nothing"}, "purpose"), ({"purpose": "batch", "expires_after": SOON}, "expires_after.seconds")],
)
async def test_bad_upload_names_the_field(client: openai.AsyncOpenAI, form: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.files.create(file=("a", b"x"), **form)
    assert caught.value.param == param


async def test_another_tenant_sees_no_files_and_batches(api: Api, client: openai.AsyncOpenAI) -> None:
    store = api.service._store
    tenant = store.create_tenant("other", actor="test").id
    key = store.create(tenant, "other", actor="test")[1]
    file = await client.files.create(file=("a", lines(1)), purpose="batch")
    batch = await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    other = client.with_options(api_key=key)
    for job in (
        other.files.retrieve(file.id),
        other.files.content(file.id),
        other.files.delete(file.id),
        other.batches.retrieve(batch.id),
        other.batches.cancel(batch.id),
        other.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"),
    ):
        with pytest.raises(openai.NotFoundError):
            await job
    assert not [one async for one in other.files.list()]
    assert not [one async for one in other.batches.list()]


# ---- batches ----


async def test_batch_runs_and_its_results_are_there(api: Api, client: openai.AsyncOpenAI, router: FakeRouter) -> None:
    async def mirror(call: Call) -> None:
        seed = json.loads(call.body)["seed"]
        await (refuse(400, "its_code") if seed == 3 else answer(200, completion(f"n{seed}")))(call)

    router.default = mirror
    batch = await end(client, await start(client, lines(20)))
    assert (batch.status, batch.request_counts.to_dict()) == ("completed", {"total": 20, "completed": 19, "failed": 1})
    assert batch.completed_at >= batch.in_progress_at >= batch.created_at
    good, bad = await results(client, batch.output_file_id), await results(client, batch.error_file_id)
    assert len(good) == 19
    for name, line in good.items():
        assert (line["response"]["status_code"], line["error"]) == (200, None)
        assert line["response"]["body"]["choices"][0]["message"]["content"] == f"n{name[1:]}"
        assert line["response"]["request_id"]
    assert (list(bad), bad["r3"]["response"]["status_code"]) == (["r3"], 400)
    assert {call.header("x-headrace-priority") for call in router.requests} == {"9"}
    records = [record for record in await api.records(25) if record.get("batch")]
    assert {record["key"] for record in records} == {api.keys["user"].split("-")[1]}


async def test_other_requests_are_in_no_band(api: Api, router: FakeRouter) -> None:
    await api.post()
    assert router.requests[0].header("x-headrace-priority") == ""


async def test_what_there_is_no_room_for_is_tried_again(client: openai.AsyncOpenAI, router: FakeRouter) -> None:
    router.script = [refuse(503, "overloaded", ("Retry-After", "1"))]
    batch = await end(client, await start(client, lines(1)))
    assert (batch.status, batch.request_counts.completed, len(router.requests)) == ("completed", 1, 2)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"not json\n", "invalid_json"),
        (lines(1) * 2, "duplicate_custom_id"),
        (lines(1).replace(b"/v1/chat/completions", b"/v1/embeddings"), "mismatched_endpoint"),
        (lines(1).replace(b"POST", b"GET"), "invalid_request"),
        (lines(1, stream=True), "invalid_request"),
    ],
)
async def test_bad_input_fails_the_batch_and_names_the_line(
    client: openai.AsyncOpenAI, router: FakeRouter, data: bytes, code: str
) -> None:
    batch = await end(client, await start(client, data))
    assert batch.status == "failed"
    assert batch.errors.data[0].code == code
    assert not router.requests


async def test_batch_can_be_cancelled(client: openai.AsyncOpenAI, router: FakeRouter) -> None:
    never = asyncio.Event()

    async def first_only(call: Call) -> None:
        if json.loads(call.body)["seed"]:
            await never.wait()
        await answer()(call)

    router.default = first_only
    batch_id = await start(client, lines(50))
    await wait_for(lambda: len(router.requests) > 5, "the requests")
    assert (await client.batches.cancel(batch_id)).status == "cancelling"
    batch = await end(client, batch_id)
    assert batch.status == "cancelled"
    assert list(await results(client, batch.output_file_id)) == ["r0"]
    assert (await client.batches.cancel(batch_id)).status == "cancelled"
    never.set()


async def test_batch_survives_the_process(
    start_api: StartApi, api: Api, client: openai.AsyncOpenAI, router: FakeRouter
) -> None:
    never = asyncio.Event()
    answered: list[int] = []

    async def ten(call: Call) -> None:
        seed = json.loads(call.body)["seed"]
        if seed >= 10 and not never.is_set():
            await never.wait()
        answered.append(seed)
        await answer()(call)

    router.default = ten
    batch_id = await start(client, lines(30))
    async with asyncio.timeout(30):
        while await completed(client, batch_id) < 10:
            await asyncio.sleep(0.05)
    database = str(api.service._store.database._engine.url)
    runner = api.service._working
    assert runner is not None
    runner.cancel()
    await asyncio.gather(runner, return_exceptions=True)
    never.set()
    other = await start_api(router, database=database)
    await wait_for(lambda: len(set(answered)) == 30, "the rest to be sent by the other")
    batch = await end(client, batch_id)
    assert (batch.status, batch.request_counts.completed) == ("completed", 30)
    assert len(await results(client, batch.output_file_id)) == 30
    assert all(answered.count(seed) == 1 for seed in range(10)), "what had a result was not sent again"
    assert other.service is not api.service


async def test_drain_finishes_what_is_under_way_and_leaves_the_rest(
    api: Api, client: openai.AsyncOpenAI, router: FakeRouter
) -> None:
    go = asyncio.Event()

    async def wait(call: Call) -> None:
        await go.wait()
        await answer()(call)

    router.default = wait
    batch_id = await start(client, lines(50))
    await wait_for(lambda: len(router.requests) == 8, "as many requests as are sent at once")
    await api.service.drain()
    go.set()
    assert api.service._working is not None
    await asyncio.wait_for(api.service._working, 20)
    found = await client.batches.retrieve(batch_id)
    assert found.request_counts is not None
    assert (found.status, found.request_counts.completed, len(router.requests)) == ("in_progress", 8, 8)
    assert api.service._desk._batches.take("another") is not None, "its lease was given back"


async def test_batch_whose_day_is_over_expires(api: Api, client: openai.AsyncOpenAI, router: FakeRouter) -> None:
    never = asyncio.Event()

    async def wait(call: Call) -> None:
        await never.wait()

    router.default = wait
    api.service._desk._batches._clock = lambda: time.time() - 86_398
    batch = await end(client, await start(client, lines(3)))
    assert batch.status == "expired"
    failed = await results(client, batch.error_file_id)
    assert {line["error"]["code"] for line in failed.values()} == {"batch_expired"}
    never.set()


async def test_revoked_key_ends_its_batches_requests(api: Api, client: openai.AsyncOpenAI, router: FakeRouter) -> None:
    key = api.service._store.create(api.service._store.tenants()[0].id, "short-lived", actor="test")
    mine = client.with_options(api_key=key[1])
    file = await mine.files.create(file=("a", lines(2)), purpose="batch")
    api.service._store.revoke(key[0].id, actor="test")
    await api.service._keys.refresh()
    batches = api.service._desk._batches
    batch = await asyncio.to_thread(
        lambda: batches.add(key[0].tenant, key[0].id, "/v1/chat/completions", file.id, seconds=600, metadata=None)
    )
    found = await end(client, batch.id)
    assert found.request_counts.failed == 2
    assert not router.requests


async def test_token_that_ends_before_a_batch_makes_none(
    api: Api, client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.service._keys, "principal", lambda _: None)  # as for the caller of an OpenID provider
    with pytest.raises(openai.PermissionDeniedError, match="with an API key"):
        await start(client, lines(1))


async def test_made_up_limits_and_paths_are_refused(api: Api) -> None:
    for path in ("/v1/batches?limit=0", "/v1/files?order=up", "/v1/batches?limit=x", f"/v1/files?{'a=1&' * 30}"):
        assert (await api.get(path)).status == 400
    for path in ("/v1/files/x/more", "/v1/batches/x"):
        assert (await api.get(path)).status == 404
    reply = await api.post(
        {"input_file_id": "x", "endpoint": "/v1/rerank", "completion_window": "24h"}, path="/v1/batches"
    )
    assert (reply.status, error(reply)["param"]) == (400, "endpoint")


def test_lease_is_for_one(database_url: str) -> None:
    now = 1000.0
    with closing(Database(database_url)) as database:
        database.upgrade()
        stores = [BatchStore(database, lease=30, clock=lambda: now) for _ in range(2)]
        made = stores[0].add("t", "k", "/v1/chat/completions", "f", seconds=100, metadata={"a": "b"})
        first = stores[0].take("one")
        assert first is not None
        assert (first.id, stores[1].take("two")) == (made.id, None)
        assert stores[0].renew("one", made.id) == "validating"
        now += 31
        assert stores[1].take("two") is not None
        assert stores[0].renew("one", made.id) is None
        assert not stores[0].move("one", made.id, "failed")
        stores[1].release("two", made.id)
        assert stores[0].take("one") is not None

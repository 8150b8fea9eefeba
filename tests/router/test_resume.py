"""Broken streams on their way through the router: to another worker, or to a clear end."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from headrace.errors import ConnectionLost
from tests.fakes import Behaviour, Call, answer, chunk, held, raw, refuse, silence, stream, stream_head
from tests.router.conftest import Router, StartRouter, StartWorker, request
from tests.router.resume.events import chat, read, said, says, usage
from tests.wire.peer import Peer, wait_for

MESSAGES = [{"role": "user", "content": "Hi"}]
DONE = b"data: [DONE]\n\n"


def body(**more: Any) -> bytes:
    return json.dumps({"messages": MESSAGES, "stream_options": {"include_usage": True}, **more}).encode()


def breaks(*events: bytes) -> Behaviour:
    """Send the events and break."""
    return raw(stream_head() + chunk(b"".join(events)), "reset")


def tokens(document: dict[str, Any]) -> int:
    """As the tokenizer of these workers counts: words, and one for each message."""
    if "prompt" in document:
        return len(document["prompt"].split()) or 1
    return sum(1 + len(message["content"].split()) for message in document["messages"])


def engine(*events: bytes, then: Behaviour | None = None) -> Behaviour:
    """A worker that counts, and answers everything else by these events."""

    async def behave(call: Call) -> None:
        if call.path == "/tokenize":
            count = tokens(json.loads(call.body))
            await answer(200, json.dumps({"count": count, "tokens": list(range(count))}).encode())(call)
        else:
            await (then or stream(*events))(call)

    return behave


async def ask(router: Router, **more: Any) -> bytes:
    reply = await (await router.send(body(**more))).reply()
    assert reply.status == 200
    return reply.body


async def pair(
    start_router: StartRouter, start_worker: StartWorker, first: Behaviour, second: Behaviour, **settings: Any
) -> Router:
    """A router whose first request to any of two workers does ``first`` and all others ``second``."""
    workers = [await start_worker(), await start_worker()]
    router: Router = await start_router(*workers, **settings)
    begun = False

    async def behave(call: Call) -> None:
        nonlocal begun
        if begun:
            await second(call)
        else:
            begun = True
            await first(call)

    for worker in workers:
        worker.default = behave
    return router


def error(events: bytes) -> Any:
    """The error that the stream ended with, which must be the only one."""
    documents = read(events)
    assert "[DONE]" not in documents
    assert sum("error" in document for document in documents) == 1
    return documents[-1]["error"]


async def test_other_worker_goes_on(start_router: StartRouter, start_worker: StartWorker) -> None:
    seen: list[dict[str, Any]] = []

    async def note(call: Call) -> None:
        seen.append(json.loads(call.body))
        await stream(says(" b c", id="two"), chat({}, "stop", id="two"), usage(5, 3), DONE)(call)

    router = await pair(start_router, start_worker, breaks(says("a")), engine(then=note))
    events = await ask(router, max_tokens=10, seed=1)
    *documents, done = read(events)
    assert (said(events), done) == ("a b c", "[DONE]")
    assert documents[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    assert seen[0]["messages"] == [*MESSAGES, {"role": "assistant", "content": "a"}]
    assert seen[0]["max_tokens"] == 8
    assert router.metric("llm_router_resumes_total", "m") == 1
    await router.idle()


async def test_half_an_event_is_not_passed_on(start_router: StartRouter, start_worker: StartWorker) -> None:
    half = says("a") + chat({"content": "never"})[:-1]
    router = await pair(start_router, start_worker, breaks(half), engine(says(" b"), DONE))
    assert said(await ask(router)) == "a b"


async def test_only_the_last_events_are_missing(start_router: StartRouter, start_worker: StartWorker) -> None:
    broken = breaks(says("a b"), chat({}, "stop"))
    router = await pair(start_router, start_worker, broken, engine(then=refuse(500, "never")))
    *_, told, done = read(await ask(router))
    assert (told["usage"], done) == ({"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}, "[DONE]")
    await router.idle()


async def test_usage_is_left_out_where_nobody_counts(start_router: StartRouter, start_worker: StartWorker) -> None:
    broken = breaks(says("a"), chat({}, "stop"))
    router = await pair(start_router, start_worker, broken, refuse(500, "no"))
    *documents, done = read(await ask(router))
    assert done == "[DONE]"
    assert not any(document.get("usage") for document in documents)
    await router.idle()


async def test_only_done_is_missing(start_router: StartRouter, start_worker: StartWorker) -> None:
    broken = breaks(says("a"), chat({}, "stop"), usage(2, 1))
    router = await pair(start_router, start_worker, broken, engine())
    documents = read(await ask(router))
    assert documents[-1] == "[DONE]"
    assert sum("usage" in document for document in documents[:-1]) == 1


async def test_limit_was_reached_already(start_router: StartRouter, start_worker: StartWorker) -> None:
    router = await pair(start_router, start_worker, breaks(says("a b")), engine(then=refuse(500, "never")))
    *_, last, told, done = read(await ask(router, max_tokens=3))
    assert last["choices"][0]["finish_reason"] == "length"
    assert (told["usage"]["completion_tokens"], done) == (3, "[DONE]")
    await router.idle()


async def test_stop_string_across_the_seam(start_router: StartRouter, start_worker: StartWorker) -> None:
    go = asyncio.Event()
    rest = held(go, silence, first=stream_head() + chunk(says("OP more", id="two")))
    router = await pair(start_router, start_worker, breaks(says("a ST")), engine(then=rest))
    events = await ask(router, stop=["STOP"])
    *documents, done = read(events)
    assert (said(events), done) == ("a ST", "[DONE]")
    assert documents[-2]["choices"][0]["finish_reason"] == "stop"
    assert documents[-1]["usage"]["completion_tokens"] == 3
    await router.idle()


async def test_engine_that_does_not_count_is_left_for_one_that_does(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    first, plain, able = [await start_worker() for _ in range(3)]
    router = await start_router(first, plain, able, profile="round-robin")
    first.default = breaks(says("a"))
    plain.default = refuse(404, "not_found")
    able.default = engine(says(" b"), DONE)
    for _ in range(3):
        if said(await ask(router)) == "a b":
            break
    assert router.metric("llm_router_not_resumable_total", "m", "engine") == 0
    await router.idle()


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (refuse(404, "not_found"), "engine"),
        (answer(200, b'{"tokens":"x"}'), "engine"),
        (engine(then=refuse(400, "no")), "refused"),
        (engine(then=answer()), "refused"),
        (engine(then=refuse(503, "overloaded")), "refused"),
    ],
)
async def test_nobody_can_go_on(
    start_router: StartRouter, start_worker: StartWorker, second: Behaviour, reason: str
) -> None:
    router = await pair(start_router, start_worker, breaks(says("a")), second, cold_wait=60)
    assert error(await ask(router))["code"] == "worker_lost"
    assert router.metric("llm_router_not_resumable_total", "m", reason) == 1
    assert router.metric("llm_router_broken_streams_total", "m") == 1
    await router.idle()


async def test_replay_memory_is_full(start_router: StartRouter, start_worker: StartWorker) -> None:
    broken = breaks(says("a"))
    router = await pair(start_router, start_worker, broken, broken, replay_memory=1)
    assert error(await ask(router))["code"] == "worker_lost"
    assert router.metric("llm_router_unrecorded_streams_total", "m") == 1
    assert router.metric("llm_router_not_resumable_total", "m", "replay_memory") == 1


async def test_replay_memory_gets_full(start_router: StartRouter, start_worker: StartWorker) -> None:
    broken = breaks(says("a" * 1000))
    router = await pair(start_router, start_worker, broken, broken, replay_memory=1000)
    assert error(await ask(router))["code"] == "worker_lost"
    assert router.metric("llm_router_not_resumable_total", "m", "replay_memory") == 1
    assert router.metric("llm_router_replay_bytes") == 0


async def test_stream_that_got_on_with_each_worker_is_not_the_cause(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    """A rolling failure is no poison; but four lost workers are enough."""
    workers = [await start_worker() for _ in range(5)]
    router = await start_router(*workers)

    async def words(call: Call) -> None:
        await call.send(stream_head() + chunk(says()))
        for _ in range(20):
            await call.send(chunk(chat({"content": " word"})))
            await asyncio.sleep(0.001)
        call.reset()

    for worker in workers:
        worker.default = engine(then=words)
    events = await ask(router)
    assert error(events)["code"] == "worker_lost"
    assert said(events).split() == ["word"] * 80
    assert router.metric("llm_router_not_resumable_total", "m", "losses") == 1
    assert router.metric("llm_router_poisoned_total", "m") == 0
    await router.idle()


async def test_stream_that_is_lost_twice_in_one_place_is_the_cause(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    workers = [await start_worker() for _ in range(3)]
    router = await start_router(*workers)
    for worker in workers:
        worker.default = engine(then=breaks(says("a")))
    assert error(await ask(router))["code"] == "request_crashes_worker"
    reply = await (await router.send(body())).reply()
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (500, "request_crashes_worker")
    assert (await (await router.send(body(seed=1))).reply()).status == 200
    await router.idle()


async def test_client_that_leaves_while_its_stream_is_resumed(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    router = await pair(start_router, start_worker, breaks(says("a")), silence)
    peer = await router.send(body())
    await peer.until(b"\n\n")
    await wait_for(lambda: router.metric("llm_router_retries_total", "m", "ConnectionLost") == 1, "the loss")
    peer.reset()
    await router.idle()
    assert router.metric("llm_router_cancellations_total", "m", "streaming") == 1
    assert router.metric("llm_router_replay_bytes") == 0


async def test_budget_of_retries_covers_refusals_but_not_the_dead_workers_own(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    full, free = await start_worker(), await start_worker()
    router = await start_router(full, free, profile="round-robin")
    full.default = refuse(503, "overloaded")
    budget = router.service._delivery._budgets["m"]
    while budget.withdraw(0):
        pass
    budget._seen = float("inf")  # time fills it no more
    statuses = {(await (await router.send(body(seed=number))).reply()).status for number in range(4)}
    assert statuses == {200, 503}
    full.default = raw(b"", "reset")
    statuses = {(await (await router.send(body(seed=number))).reply()).status for number in range(4)}
    assert statuses == {200}
    await router.idle()


async def test_slow_reader_gets_the_rest_from_another_worker_when_it_reads(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    """While we do not read for its sake, the new worker's silence is ours too."""
    piece = "word " * 8000

    async def flood(call: Call) -> None:
        await call.send(stream_head() + chunk(says()))
        while not call.gone.is_set():
            await call.send(chunk(chat({"content": piece})))

    seen: list[Call] = []

    async def go_on(call: Call) -> None:
        seen.append(call)
        await stream(says("end", id="two"), chat({}, "stop", id="two"), DONE)(call)

    router = await pair(start_router, start_worker, flood, engine(then=go_on))
    peer = await Peer.connect(router.address, receive_buffer=65536)
    try:
        await peer.send(request(body()))
        workers = list(router.service.pools["m"].workers)
        await wait_for(
            lambda: any(one.paused for worker in workers for one in worker.attempts), "the client to be slow"
        )
        for worker in workers:
            for attempt in list(worker.attempts):
                attempt.fail(ConnectionLost("quarantined"))
        await wait_for(lambda: bool(seen), "the other worker to be asked")
        router.service._delivery.watch.check(time.monotonic() + 3600)
        reply = await peer.reply()
    finally:
        peer.close()
    text = said(reply.body)
    assert text.replace(piece, "") == "end"
    assert reply.body.endswith(DONE)
    await router.idle()

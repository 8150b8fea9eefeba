"""Streams and large answers: what breaks them, who leaves them, and who cannot keep up."""

from __future__ import annotations

import asyncio
import json
import random
import time

import pytest

from headrace.wire.relay import HELD_BYTES
from tests.fakes import (
    Behaviour,
    Call,
    answer,
    chunk,
    completion,
    head,
    held,
    raw,
    refuse,
    silence,
    stream,
    stream_head,
    tokens,
    whole,
)
from tests.router.conftest import Router, StartRouter, StartWorker, request
from tests.wire.peer import Peer, wait_for

STREAM = stream_head() + b"".join(map(chunk, tokens(2))) + chunk(b"")
LARGE = json.dumps({"data": "x" * (3 * HELD_BYTES), "usage": {"prompt_tokens": 1}}).encode()


def broken(body: bytes) -> bool:
    """Whether a stream ended as a broken one must: whole events, then exactly one error, and no [DONE]."""
    *events, error, empty = body.split(b"\n\n")
    assert not empty
    assert all(event.startswith(b"data: {") for event in events)
    return error.startswith(b'data: {"error"') and body.count(b'"error"') == 1 and b"[DONE]" not in body


async def test_stream_reset_at_every_offset_is_whole_or_clean(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker, other = await start_worker(), await start_worker()
    router = await start_router(worker, other, profile="round-robin", poll_interval=0.002)
    other.default = stream(*tokens(2))
    full = b"".join(tokens(2))
    first, done = len(stream_head() + chunk(tokens(2)[0])), STREAM.index(b"[DONE]\n\n") + len(b"[DONE]\n\n")
    for offset in range(len(STREAM)):
        worker.default, worker.script = stream(*tokens(2)), [raw(STREAM[:offset], "reset")]
        while worker.script:
            peer = await router.send(b'{"n":2}')
            reply = await peer.reply()
            peer.close()
            assert reply.status == 200
            expected = offset < first - 2 or offset >= done or bool(worker.script)
            if reply.body != full:
                assert not expected, (offset, reply.body)
                assert broken(reply.body), (offset, reply.body)
    await router.idle()


@pytest.mark.parametrize("end", ["reset", "close"])
async def test_stream_that_lacks_only_its_last_chunk_is_whole(
    start_router: StartRouter, start_worker: StartWorker, end: str
) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    worker.script = [raw(STREAM.removesuffix(chunk(b"")), end)]
    reply = await (await router.send()).reply()
    assert reply.body == b"".join(tokens(2))
    await router.idle()
    assert router.metric("llm_router_requests_total", "m", "ok") == 1


async def test_stream_without_events_is_done_again(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    worker.script = [raw(stream_head() + chunk(b"")), stream()]
    reply = await (await router.send()).reply()
    assert (reply.body, reply.headers["x-headrace-attempts"]) == (b"".join(tokens(3)), "2")


async def test_workers_own_error_event_is_passed_on_as_it_is(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    events = [tokens(1)[0], b'data: {"error":{"message":"out of memory","code":500}}\n\n']
    worker.script = [stream(*events)]
    assert (await (await router.send()).reply()).body == b"".join(events)


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_events_are_passed_on_whole_however_they_come(
    start_router: StartRouter, start_worker: StartWorker, size: int
) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    data = b"".join(tokens(2))
    worker.script = [stream(*(data[start : start + size] for start in range(0, len(data), size)))]
    peer = await router.send()
    await peer.until(b"\r\n\r\n")
    pieces = [piece async for piece in peer.chunks()]
    assert b"".join(pieces) == data
    assert all(piece.endswith(b"\n\n") for piece in pieces)


@pytest.mark.parametrize(
    "nonsense",
    [
        raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        raw(b"HTTP/1.1 abc\r\n\r\n"),
        raw(head(200, ("content-length", "1"), ("transfer-encoding", "chunked"))),
        raw(head(101)),
        raw(head(200, ("content-length", "2")) + b"abc"),
        raw(stream_head() + b"zz\r\n"),
    ],
)
async def test_nonsense_is_tried_elsewhere(
    start_router: StartRouter, start_worker: StartWorker, nonsense: Behaviour
) -> None:
    worker, other = await start_worker(), await start_worker()
    router = await start_router(worker, other)
    worker.default = nonsense
    for _ in range(3):
        assert (await (await router.send()).reply()).body == completion()
    other.default = nonsense
    reply = await (await router.send()).reply()
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (502, "bad_worker")
    await router.idle()


async def test_large_answer_is_passed_on(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    worker.script = [answer(200, LARGE)]
    reply = await (await router.send()).reply()
    assert (reply.status, reply.body == LARGE) == (200, True)
    assert reply.headers["x-headrace-worker"] == worker.name


async def test_large_answer_that_breaks_is_cut(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    worker.script = [raw(whole(LARGE)[:-1], "close")]
    peer = await router.send()
    body = await peer.rest()
    assert b'"data"' in body
    assert not body.endswith(b"0\r\n\r\n")
    await router.idle()
    assert router.metric("llm_router_requests_total", "m", "worker_lost") == 1


async def test_deadline_is_for_the_first_bytes_only(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    go = asyncio.Event()
    begun, rest = whole(LARGE)[: 2 * HELD_BYTES], whole(LARGE)[2 * HELD_BYTES :]
    worker.script = [held(go, raw(rest), first=begun)]
    peer = await router.send()
    await peer.until(b"\r\n\r\n")
    router.service._delivery.watch.check(time.monotonic() + 3600)
    go.set()
    assert b"".join([piece async for piece in peer.chunks()]) == LARGE


async def test_answer_that_is_held_must_be_complete_by_the_deadline(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    worker.default = held(asyncio.Event(), silence, first=whole(completion())[:-5])
    reply = await (await router.send(x_headrace_deadline_ms="1")).reply()
    assert reply.status == 504
    await wait_for(worker.requests[0].gone.is_set, "the worker's connection to be closed")


# ---- leaving, and not keeping up ----


@pytest.mark.parametrize("stage", ["queued", "dispatched", "streaming"])
async def test_client_that_leaves_gives_its_slot_back(
    start_router: StartRouter, start_worker: StartWorker, stage: str
) -> None:
    worker = await start_worker(max_running=1)
    router = await start_router(worker)
    go = asyncio.Event()
    worker.script = [held(go, stream(), first=stream_head() + chunk(tokens(1)[0])) if stage == "streaming" else silence]
    first = await router.send()
    await wait_for(lambda: len(worker.requests) == 1, "the first request")
    if stage == "streaming":
        await first.until(b"\n\n")
    second = await router.send()
    pool = router.service.pools["m"]
    await wait_for(lambda: pool.waiting == 1, "the second request")
    if stage == "queued":
        second.reset()
        await wait_for(lambda: pool.waiting == 0, "the queue to be empty")
        first.reset()
    else:
        first.reset()
        assert (await second.reply()).status == 200
    await wait_for(worker.requests[0].gone.is_set, "the worker's connection to be closed")
    await router.idle()
    assert router.metric("llm_router_requests_total", "m", "cancelled") == (2 if stage == "queued" else 1)


async def test_client_that_leaves_while_the_answer_ends_costs_nothing(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker = await start_worker(max_running=1)
    router = await start_router(worker)
    for behaviour in (answer(), stream(), raw(b"", "reset")) * 10:
        go = asyncio.Event()
        worker.script = [held(go, behaviour)]
        peer = await router.send()
        await wait_for(lambda: not worker.script, "the request")
        go.set()
        peer.reset()
        await router.idle()
    assert (await (await router.send()).reply()).status == 200


async def test_random_clients_and_workers_leave_nothing_in_flight(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201  shown when the test fails
    rng = random.Random(seed)
    workers = [await start_worker(max_running=3) for _ in range(3)]
    router = await start_router(*workers, poll_interval=0.005)

    async def misbehave(call: Call) -> None:
        choices = [answer(), stream(), raw(STREAM[: rng.randrange(len(STREAM))], "reset"), refuse(503, "overloaded")]
        await rng.choice(choices)(call)

    for worker in workers:
        worker.default = misbehave

    async def visit() -> None:
        peer = await router.send(b'{"n":2,"seed":%d}' % rng.randrange(2**32))
        if rng.random() < 0.5:
            await asyncio.sleep(rng.random() * 0.01)
            peer.reset()
        else:
            await peer.reply()

    for _ in range(20):
        await asyncio.gather(*(visit() for _ in range(15)))
    await router.idle()
    assert sum(count_requests(router).values()) == 300


def count_requests(router: Router) -> dict[str, float]:
    """Requests by outcome."""
    family = next(one for one in router.service.registry.snapshot() if one.name == "llm_router_requests_total")
    return {child.labels[1]: child.values[0] for child in family.children}


async def test_slow_reader_stops_the_worker_and_loses_nothing(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    events = [b"data: %d %b\n\n" % (number, b"x" * 65536) for number in range(600)]
    worker.script = [stream(*events, b"data: [DONE]\n\n")]
    peer = await Peer.connect(router.address, receive_buffer=65536)
    try:
        await peer.send(request())
        await wait_for(lambda: bool(worker.requests), "the request")
        call = worker.requests[0]
        await standstill(call)
        assert call.sent < 30 * 1024 * 1024
        assert sum(one._transport.get_write_buffer_size() for one in router.server.connections) < 1024 * 1024
        reply = await peer.reply()
        assert reply.body == b"".join(events) + b"data: [DONE]\n\n"
    finally:
        peer.close()
    await router.idle()


async def standstill(call: Call) -> None:
    """Wait until the worker can send no more."""
    before = -1
    while call.sent != before or not call.sent:
        before = call.sent
        await asyncio.sleep(0.3)

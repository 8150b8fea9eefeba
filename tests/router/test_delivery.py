"""What becomes of a request whose worker refuses, dies or breaks off."""

from __future__ import annotations

import asyncio
import json

import pytest

from headrace.errors import ConnectionLost
from headrace.router.worker import State
from tests.fakes import Call, answer, chunk, completion, held, raw, refuse, silence, stream, stream_head, tokens, whole
from tests.router.conftest import StartRouter, StartWorker
from tests.wire.peer import wait_for

PATH = "/v1/chat/completions"


def error(body: bytes) -> str:
    return str(json.loads(body)["error"]["code"])


async def test_answer_and_stream_pass(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    reply = await (await router.send()).reply()
    assert (reply.status, reply.body) == (200, completion())
    assert reply.headers["x-headrace-worker"] == worker.name
    assert reply.headers["x-headrace-attempts"] == "1"
    worker.script = [stream()]
    reply = await (await router.send()).reply()
    assert reply.body == b"".join(tokens(3))
    await router.idle()
    assert router.metric("llm_router_requests_total", "m", "ok") == 2


async def test_worker_gets_none_of_our_headers(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    await (await router.send(b'{"a":1}', traceparent="00-a-b-01")).reply()
    call = worker.requests[0]
    assert (call.method, call.path, call.body) == ("POST", PATH, b'{"a":1}')
    names = {name for name, _ in call.headers}
    assert not [name for name in names if name.startswith("x-headrace")]
    assert (call.header("x-request-id"), call.header("traceparent")) == ("id", "00-a-b-01")


@pytest.mark.parametrize(
    "death", [raw(b"", "reset"), raw(stream_head(), "reset"), raw(whole(completion())[:-5], "close")]
)
async def test_lost_before_the_first_event_is_done_again(
    start_router: StartRouter, start_worker: StartWorker, death: object
) -> None:
    first, second = await start_worker(), await start_worker()
    router = await start_router(first, second, profile="round-robin")
    first.script, second.script = [death], [answer()]  # type: ignore[list-item]
    replies = [await (await router.send()).reply() for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]
    assert sorted(reply.headers["x-headrace-attempts"] for reply in replies) == ["1", "2"]
    await router.idle()
    ids = [call.header("x-request-id") for worker in (first, second) for call in worker.requests]
    assert sorted(ids) == ["id", "id", "id-1"]
    assert router.metric("llm_router_retries_total", "m", "ConnectionLost") == 1


async def test_two_lost_workers_hold_the_request_to_be_the_cause(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    workers = [await start_worker() for _ in range(3)]
    router = await start_router(*workers)
    for worker in workers:
        worker.default = raw(b"", "reset")
    reply = await (await router.send()).reply()
    assert (reply.status, error(reply.body)) == (500, "request_crashes_worker")
    assert sum(len(worker.requests) for worker in workers) == 2
    assert router.metric("llm_router_poisoned_total", "m") == 1


@pytest.mark.parametrize(("busy", "steps", "status"), [(2, 7, 200), (2, 8, 500), (0, 7, 500)])
async def test_worker_that_stood_still_before_the_request_came_does_not_count(
    start_router: StartRouter, start_worker: StartWorker, busy: int, steps: int, status: int
) -> None:
    """It does if its engine made a step with the request, or had nothing but the request."""
    workers = [await start_worker() for _ in range(3)]
    for worker in workers:
        worker.load |= {"running": busy, "iterations": 7}
    workers[2].unready = "loading"
    router = await start_router(*workers)
    for worker in workers[:2]:
        worker.default = silence
    answered = asyncio.ensure_future((await router.send()).reply())
    for lost in (1, 2):
        await wait_for(lambda lost=lost: sum(len(worker.requests) for worker in workers) == lost, "it")  # type: ignore[misc]
        [stands] = [worker for worker in workers if router.worker(worker).attempts]
        stands.load["iterations"] = steps
        known = router.worker(stands)
        await wait_for(lambda known=known: known.load.iterations == steps, "a look")  # type: ignore[misc]
        known.suspect(State.QUARANTINED, "it stands still")
        [attempt] = known.attempts
        attempt.fail(ConnectionLost("quarantined"))
        await wait_for(lambda known=known: not known.attempts, "the attempt to end")  # type: ignore[misc]
    workers[2].unready = ""
    assert (await answered).status == status


async def test_kept_connection_that_was_closed_meanwhile_costs_no_attempt(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    await (await router.send()).reply()
    worker.script = [raw(b"", "reset")]
    reply = await (await router.send()).reply()
    assert (reply.status, reply.headers["x-headrace-attempts"]) == (200, "1")
    assert worker.connections == 2
    assert router.metric("llm_router_retries_total", "m", "stale") == 1
    await router.idle()


async def test_deaths_over_kept_connections_count_too(start_router: StartRouter, start_worker: StartWorker) -> None:
    workers = [await start_worker() for _ in range(3)]
    router = await start_router(*workers, profile="round-robin")
    for _ in workers:
        await (await router.send()).reply()
    for worker in workers:
        worker.default = worker.crash
    reply = await (await router.send()).reply()
    assert (reply.status, error(reply.body)) == (500, "request_crashes_worker")
    assert sum(len(worker.requests) for worker in workers) == 3 + 2


async def test_one_death_is_one_loss(start_router: StartRouter, start_worker: StartWorker) -> None:
    """A process that dies takes its connections with it one by one, and the next attempt may meet the last of them."""
    worker = await start_worker()
    router = await start_router(worker)
    worker.script = [raw(b"", "reset"), raw(b"", "reset"), answer()]
    reply = await (await router.send()).reply()
    assert (reply.status, reply.headers["x-headrace-attempts"]) == (200, "3")
    worker.default = raw(b"", "reset")
    reply = await (await router.send()).reply()
    assert (reply.status, error(reply.body)) == (503, "no_worker")
    assert router.metric("llm_router_poisoned_total", "m") == 0


async def test_a_worker_that_came_back_and_is_lost_again_counts_twice(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    go = asyncio.Event()
    worker.default = held(go, raw(b"", "reset"))
    peer = await router.send()
    await wait_for(lambda: bool(worker.requests), "the request")
    worker.load["epoch"] = "2"
    go.set()
    reply = await peer.reply()
    assert (reply.status, error(reply.body)) == (500, "request_crashes_worker")


async def test_a_lost_worker_gets_nothing_before_it_was_looked_at(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    router = await start_router(worker)

    async def die(call: Call) -> None:
        worker.unready = "loading"
        call.reset()

    worker.script = [die]
    peer = await router.send()
    await router.settle(worker, State.STARTING)
    assert len(worker.requests) == 1
    worker.unready = ""
    assert (await peer.reply()).status == 200


@pytest.mark.parametrize(
    "rest",
    [raw(b"", "reset"), raw(b"", "close"), raw(chunk(b"data: {}\n"), "reset"), raw(chunk(b""))],
    ids=["reset", "closed", "half an event", "ended without its last event"],
)
async def test_broken_stream_that_cannot_be_resumed_ends_with_one_error_event(
    start_router: StartRouter, start_worker: StartWorker, rest: object
) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    go = asyncio.Event()
    worker.script = [held(go, rest, first=stream_head() + chunk(tokens(1)[0]))]  # type: ignore[arg-type]
    peer = await router.send(b'{"n":2}')
    await peer.until(b"\n\n")
    go.set()
    body = await peer.until(b"0\r\n\r\n")
    assert body.count(b'data: {"error"') == 1
    assert b"worker_lost" in body
    assert b"[DONE]" not in body
    assert router.metric("llm_router_broken_streams_total", "m") == 1
    assert router.metric("llm_router_not_resumable_total", "m", "n") == 1
    assert len(worker.requests) == 1
    await router.idle()


async def test_refusal_goes_to_another_worker(start_router: StartRouter, start_worker: StartWorker) -> None:
    full, free = await start_worker(), await start_worker()
    router = await start_router(full, free)
    full.default = refuse(503, "overloaded", ("Retry-After", "7"))
    for _ in range(4):
        assert (await (await router.send()).reply()).status == 200
    free.default = full.default
    reply = await (await router.send()).reply()
    assert (reply.status, reply.headers["retry-after"]) == (503, "7")


async def test_worker_that_is_not_ready_is_waited_for(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker, cold_wait=60)
    worker.script = [refuse(503, "not_ready", ("Retry-After", "5"))]
    reply = await (await router.send()).reply()
    assert (reply.status, reply.headers["x-headrace-attempts"]) == (200, "2")


async def test_client_error_is_passed_on_and_not_tried_again(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker, other = await start_worker(), await start_worker()
    router = await start_router(worker, other)
    worker.default = other.default = refuse(400, "context_length_exceeded")
    reply = await (await router.send()).reply()
    assert (reply.status, error(reply.body)) == (400, "context_length_exceeded")
    assert len(worker.requests) + len(other.requests) == 1
    assert all(router.worker(fake).state is State.READY for fake in (worker, other))


async def test_reset_at_every_offset_is_done_again_or_told(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker, other = await start_worker(), await start_worker()
    router = await start_router(worker, other, profile="round-robin", poll_interval=0.002)
    full = whole(completion())
    for offset in range(len(full)):
        worker.script, other.script = [raw(full[:offset], "reset")], [raw(full[:offset], "reset")]
        replies = [await (await router.send()).reply() for _ in range(2)]
        worker.script, other.script = [], []
        for reply in replies:
            assert reply.status in (200, 500), (offset, reply)
            assert reply.status == 500 or reply.body == completion()
    await router.idle()


async def test_client_that_leaves_ends_the_work(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    worker.default = silence
    peer = await router.send()
    await wait_for(lambda: bool(worker.requests), "the request")
    peer.close()
    await worker.requests[0].gone.wait()
    await router.idle()
    assert router.metric("llm_router_requests_total", "m", "cancelled") == 1


async def test_deadline_of_a_silent_worker(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker()
    router = await start_router(worker)
    worker.default = silence
    reply = await (await router.send(x_headrace_deadline_ms="1")).reply()
    assert (reply.status, error(reply.body)) == (504, "timeout")
    await router.idle()


async def test_unknown_pool_and_malformed_contract(start_router: StartRouter, start_worker: StartWorker) -> None:
    router = await start_router(await start_worker())
    for headers, status in (
        ({"x_headrace_model": "nope"}, 404),
        ({"x_headrace_model": ""}, 400),
        ({"x_headrace_cost": "many"}, 400),
    ):
        reply = await (await router.send(b"{}", **headers)).reply()
        assert reply.status == status


async def test_secret_is_demanded(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker = await start_worker(bare=True)
    router = await start_router(worker, hop_secret="new", hop_secret_previous="old")
    assert (await (await router.send()).reply()).status == 401
    for secret in ("new", "old"):
        assert (await (await router.send(x_headrace_secret=secret)).reply()).status == 200
    assert {call.header("authorization") for call in worker.requests} == {"Bearer new"}

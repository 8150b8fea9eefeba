"""vLLM's HTTP server outlives its engine: what it says then counts as a loss."""

from __future__ import annotations

import json

from tests.fakes import answer, chunk, completion, raw, stream_head, tokens
from tests.router.conftest import StartRouter, StartWorker

ERROR = {
    "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
    "type": "InternalServerError",
    "param": None,
    "code": 500,
}
DEAD = json.dumps({"error": ERROR}).encode()
OTHER = json.dumps({"error": {**ERROR, "message": "The tool parser failed."}}).encode()
EVENT = b"data: " + DEAD + b"\n\n"
END = chunk(b"data: [DONE]\n\n") + chunk(b"")


async def test_an_answer_that_tells_of_a_dead_engine_is_got_elsewhere(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    first, second = await start_worker(), await start_worker()
    router = await start_router(first, second, profile="round-robin")
    first.script = [answer(500, DEAD)]
    replies = [await (await router.send()).reply() for _ in range(2)]
    assert [(reply.status, reply.body) for reply in replies] == [(200, completion())] * 2
    assert sorted(reply.headers["x-headrace-attempts"] for reply in replies) == ["1", "2"]


async def test_another_500_is_passed_on(start_router: StartRouter, start_worker: StartWorker) -> None:
    worker, other = await start_worker(), await start_worker()
    worker.default = other.default = answer(500, OTHER)
    router = await start_router(worker, other)
    reply = await (await router.send()).reply()
    assert (reply.status, reply.body) == (500, OTHER)
    assert len(worker.requests) + len(other.requests) == 1


async def test_a_stream_that_tells_of_a_dead_engine_is_broken(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    worker.script = [raw(stream_head() + chunk(tokens(1)[0]) + chunk(EVENT) + END)]
    router = await start_router(worker)
    body = (await (await router.send(b'{"n":2}')).reply()).body  # not to be resumed
    assert b"EngineCore" not in body
    assert b"worker_lost" in body
    assert b"[DONE]" not in body


async def test_it_is_seen_behind_other_events_of_the_same_piece(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    worker.script = [raw(stream_head() + chunk(tokens(1)[0] + EVENT + b"data: [DONE]\n\n") + chunk(b""))]
    router = await start_router(worker)
    body = (await (await router.send(b'{"n":2}')).reply()).body
    assert b"worker_lost" in body
    assert b"EngineCore" not in body


async def test_text_that_only_speaks_of_it_is_text(start_router: StartRouter, start_worker: StartWorker) -> None:
    said = json.dumps({"choices": [{"index": 0, "delta": {"content": EVENT.decode()}}]}).encode()
    worker = await start_worker()
    worker.script = [raw(stream_head() + chunk(b"data: " + said + b"\n\n") + END)]
    router = await start_router(worker)
    body = (await (await router.send()).reply()).body
    assert body == b"data: " + said + b"\n\ndata: [DONE]\n\n"

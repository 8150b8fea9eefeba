"""Clients that go away: the engine stops working for them."""

from __future__ import annotations

import pytest

from tests.e2e.calls import Call
from tests.e2e.stack import API, BERT, CHAT, CHAT_MODEL, CPU, EMBEDDING_MODEL, EMBEDDINGS, WEB, Stack

pytestmark = pytest.mark.e2e

ENDLESS = {
    "model": CHAT_MODEL,
    "messages": [{"role": "user", "content": "Tell me a story that does not end."}],
    "max_tokens": 8000,  # minutes: nothing here waits for that
    "ignore_eos": True,
}


def check_cancelled(stack: Stack, cancelled: float, client_id: str) -> None:
    stack.wait_idle()
    assert stack.samples(CPU).total("cpu_worker_requests_total", finish_reason="cancelled") == cancelled + 1
    (line,) = stack.access(client_id)
    assert (line["status"], line["reason"]) == (499, "client_gone")


def leave_by_closing(call: Call) -> None:
    call.leave()


def leave_by_half_closing(call: Call) -> None:
    call.half_close()


@pytest.mark.parametrize("leave", [leave_by_closing, leave_by_half_closing])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("door", [API, WEB])
def test_a_client_that_leaves_frees_the_engine(
    stack: Stack, door: str, stream: bool, leave: object, request: pytest.FixtureRequest
) -> None:
    cancelled = stack.samples(CPU).total("cpu_worker_requests_total", finish_reason="cancelled")
    client_id = request.node.name
    with stack.call(CHAT, {**ENDLESS, "stream": stream}, door=door, x_request_id=client_id) as call:
        if stream:
            call.first_event()
        stack.wait_running(1)
        assert callable(leave)
        leave(call)
        check_cancelled(stack, cancelled, client_id)


def test_all_choices_are_cancelled(stack: Stack) -> None:
    with stack.call(CHAT, {**ENDLESS, "stream": True, "n": 3}) as call:
        call.first_event()
        stack.wait_running(3)
    stack.wait_idle()


def test_a_client_that_leaves_many_inputs_behind(stack: Stack) -> None:
    body = {"model": EMBEDDING_MODEL, "input": ["the water of the river " * 40] * 2048}
    with stack.call(EMBEDDINGS, body):
        stack.wait_queued(BERT)  # before that its inputs may still be tokenized: then there is nothing to drop
    stack.wait_idle()
    assert stack.samples(BERT).total("bert_worker_rows_dropped_total") > 0

"""kill -9: whoever waits for an answer hears of it, and the process comes back."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from typing import Any, NamedTuple

import openai
import pytest
from openai import OpenAI

from tests.e2e.calls import Call, Ending
from tests.e2e.stack import (
    API,
    BERT,
    CHAT,
    CHAT_MODEL,
    CPU,
    EMBEDDING_MODEL,
    EMBEDDINGS,
    ENGINE,
    ROUTER,
    WEB,
    Stack,
)

pytestmark = pytest.mark.e2e

BODY: dict[str, Any] = {
    "model": CHAT_MODEL,
    "messages": [{"role": "user", "content": "Tell me a long story."}],
    "max_tokens": 150,
    "ignore_eos": True,
    "temperature": 0,
}


class Fate(NamedTuple):
    """How requests through one door end: a stream, and the status of a whole answer, None for a lost connection."""

    stream: Ending
    whole: int | None


FINE = Fate(Ending.DONE, 200)
CUT = Fate(Ending.CUT, None)
TOLD = Fate(Ending.ERROR, 503)


@pytest.mark.parametrize(
    ("victim", "through_api", "through_web"),
    [
        (WEB, FINE, CUT),
        (API, CUT, Fate(Ending.CUT, 503)),
        (ROUTER, TOLD, TOLD),
        (CPU, FINE, FINE),
        (ENGINE, FINE, FINE),
    ],
)
def test_requests_in_flight_end_cleanly(stack: Stack, victim: str, through_api: Fate, through_web: Fate) -> None:
    with ExitStack() as held:
        doors = (API, WEB)
        streams = [held.enter_context(stack.call(CHAT, {**BODY, "stream": True}, door=door)) for door in doors]
        wholes = [held.enter_context(stack.call(CHAT, BODY, door=door)) for door in doors]
        for stream in streams:
            stream.first_event()
        stack.wait_running(4)
        stack.kill(victim)
        fates = [Fate(stream.end(), whole.outcome()) for stream, whole in zip(streams, wholes, strict=True)]
        assert fates == [through_api, through_web]
        for call in (*streams, *wholes):
            check_errors(call)
    stack.wait_back()
    check_all_works(stack)


def test_embeddings_in_flight_are_computed_again(stack: Stack) -> None:
    body = {"model": EMBEDDING_MODEL, "input": ["the water of the river " * 40] * 512}
    with stack.call(EMBEDDINGS, body) as call:
        stack.wait_running(1, BERT)
        stack.kill(BERT)
        assert call.status == 200
        assert len(call.json()["data"]) == 512
    stack.wait_back()
    check_all_works(stack)


def test_all_at_once(stack: Stack) -> None:
    with stack.call(CHAT, {**BODY, "stream": True}) as call:
        call.first_event()
        stack.kill(WEB, API, ROUTER, CPU, BERT)
        assert call.end() is Ending.CUT
    stack.wait_back()
    check_all_works(stack)


def test_the_sdk_raises_where_a_stream_breaks(stack: Stack, client: OpenAI) -> None:
    body = {name: value for name, value in BODY.items() if name != "ignore_eos"}
    stream = client.chat.completions.create(**body, stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    stack.kill(ROUTER)
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "stream_lost"
    stack.wait_back()


def check_errors(call: Call) -> None:
    """An error is OpenAI's, whether it came as an event or as an answer; a refusal says when to come again."""
    if call.ending is Ending.ERROR:
        error = json.loads(call.seen[-1])["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["code"] in {"worker_lost", "stream_lost"}
    elif call.failed:
        assert int(call.headers["retry-after"]) > 0
        assert set(json.loads(call.read)["error"]) == {"message", "type", "param", "code"}


def check_all_works(stack: Stack) -> None:
    """The next requests succeed, at once and through both doors."""
    for door in (API, WEB):
        with closing(stack.client(door)) as client:
            answer = client.chat.completions.create(
                model=CHAT_MODEL, messages=[{"role": "user", "content": "Hello"}], max_tokens=2
            )
            assert answer.choices
            assert client.embeddings.create(model=EMBEDDING_MODEL, input="Hello").data

"""Chat through the SDK. What the model says is compared with what it says in another run, never with a text of ours."""

from __future__ import annotations

from typing import Any

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from tests.e2e.calls import Ending
from tests.e2e.stack import CHAT, CHAT_MODEL, Stack

pytestmark = pytest.mark.e2e

MESSAGES: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You are a miller who likes to explain."},
    {"role": "user", "content": "Tell me how water gets to the wheel of a mill."},
]
TOKENS = 24
GREEDY: dict[str, Any] = {
    "model": CHAT_MODEL,
    "messages": MESSAGES,
    "temperature": 0,
    "max_tokens": TOKENS,
    "extra_body": {"ignore_eos": True},  # how long an answer is, is not for the model to say
}


def said(answer: ChatCompletion, choice: int = 0) -> str:
    text = answer.choices[choice].message.content
    assert text is not None
    return text


def whole(client: OpenAI, **changes: Any) -> ChatCompletion:
    answer = client.chat.completions.create(**{**GREEDY, **changes})
    assert isinstance(answer, ChatCompletion)
    return answer


def test_a_stream_says_what_an_answer_says(client: OpenAI) -> None:
    answer = whole(client)
    chunks = list(client.chat.completions.create(**GREEDY, stream=True))
    assert {(chunk.object, chunk.model) for chunk in chunks} == {("chat.completion.chunk", CHAT_MODEL)}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices[0].finish_reason == answer.choices[0].finish_reason == "length"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == said(answer)
    assert answer.object == "chat.completion"
    assert answer.model == CHAT_MODEL
    assert answer.choices[0].message.role == "assistant"


def test_a_stream_tells_its_usage_only_when_asked(client: OpenAI) -> None:
    answer = whole(client)
    silent = list(client.chat.completions.create(**GREEDY, stream=True))
    assert [chunk.usage for chunk in silent] == [None] * len(silent)
    assert all(chunk.choices for chunk in silent)
    *rest, last = client.chat.completions.create(**GREEDY, stream=True, stream_options={"include_usage": True})
    assert [chunk.usage for chunk in rest] == [None] * len(silent)
    assert last.choices == []
    assert last.usage == answer.usage
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_ends_with_done(stack: Stack) -> None:
    with stack.call(CHAT, {"model": CHAT_MODEL, "messages": MESSAGES, "max_tokens": 8, "stream": True}) as call:
        assert call.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert call.end() is Ending.DONE


def test_a_conversation(client: OpenAI) -> None:
    def talk() -> list[tuple[str, int]]:
        messages = list(MESSAGES[:1])
        turns = []
        for question in ("What is a mill?", "And what is a head race?", "Say it in other words, please."):
            messages.append({"role": "user", "content": question})
            answer = whole(client, messages=messages, max_tokens=16)
            assert answer.usage is not None
            turns.append((said(answer), answer.usage.prompt_tokens))
            messages.append({"role": "assistant", "content": said(answer)})
        return turns

    turns = talk()
    prompts = [tokens for _, tokens in turns]
    assert prompts == sorted(set(prompts))  # each turn reads all those before
    assert talk() == turns


def test_max_tokens(client: OpenAI) -> None:
    answer = whole(client, max_tokens=7)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 7
    assert answer.choices[0].finish_reason == "length"
    assert said(whole(client)).startswith(said(answer))
    assert whole(client, max_tokens=None, max_completion_tokens=7).choices == answer.choices


def test_a_stop_string_ends_the_text_and_is_not_in_it(client: OpenAI) -> None:
    text = said(whole(client))
    middle = len(text) // 2
    stop = text[middle : middle + 5]
    answer = whole(client, stop=[stop, "never said \x00"])
    assert said(answer) == text[: text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"
    chunks = list(client.chat.completions.create(**GREEDY, stop=stop, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == said(answer)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_seed_decides(client: OpenAI) -> None:
    first = whole(client, temperature=1.5, seed=11)
    assert said(whole(client, temperature=1.5, seed=11)) == said(first)
    assert said(whole(client, temperature=1.5, seed=12)) != said(first)


def test_several_choices(client: OpenAI) -> None:
    changes = {"temperature": 1.5, "seed": 5, "n": 2}
    answer = whole(client, **changes)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert said(answer, 0) != said(answer, 1)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2 * TOKENS
    texts = {0: "", 1: ""}
    for chunk in client.chat.completions.create(**{**GREEDY, **changes}, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: said(answer, 0), 1: said(answer, 1)}


def test_log_probabilities(client: OpenAI) -> None:
    def read(answer: ChatCompletion) -> list[tuple[str, float]]:
        logprobs = answer.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.content is not None
        return [(token.token, token.logprob) for token in logprobs.content]

    first, again = (read(whole(client, logprobs=True)) for _ in range(2))
    assert [token for token, _ in first] == [token for token, _ in again]
    assert [value for _, value in first] == pytest.approx([value for _, value in again], abs=1e-3)
    assert len(first) == TOKENS
    assert all(value < 0 for _, value in first)
    assert whole(client).choices[0].logprobs is None

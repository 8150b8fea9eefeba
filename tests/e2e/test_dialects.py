"""The other APIs through their SDKs: Anthropic's messages, OpenAI's responses, tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic
from anthropic.types import Message, TextBlock
from openai import NotFoundError, OpenAI

from tests.e2e.patience import PATIENCE
from tests.e2e.stack import API, CHAT_MODEL, EMBEDDING_MODEL, Stack

pytestmark = pytest.mark.e2e

SYSTEM = "You are a miller who likes to explain."
QUESTION = "Tell me how water gets to the wheel of a mill."
TOKENS = 24
ASK: dict[str, Any] = {
    "model": CHAT_MODEL,
    "max_tokens": TOKENS,
    "system": SYSTEM,
    "messages": [{"role": "user", "content": QUESTION}],
    "extra_body": {"temperature": 0, "ignore_eos": True},
}


@pytest.fixture
def claude(stack: Stack) -> Iterator[Anthropic]:
    url = stack.child(API).url
    with closing(Anthropic(base_url=url, api_key=stack.key, max_retries=0, timeout=PATIENCE)) as client:
        yield client


def said(message: Message) -> str:
    block = message.content[0]
    assert isinstance(block, TextBlock)
    return block.text


def chatted(client: OpenAI, *more: Any) -> str:
    """What the model says to the same as a chat completion."""
    messages: list[Any] = [{"role": "system", "content": SYSTEM}, *ASK["messages"], *more]
    answer = client.chat.completions.create(
        model=CHAT_MODEL, messages=messages, max_tokens=TOKENS, temperature=0, extra_body={"ignore_eos": True}
    )
    text = answer.choices[0].message.content
    assert text
    return text


# ---- messages ----


def test_message_says_what_a_chat_completion_says(claude: Anthropic, client: OpenAI) -> None:
    message = claude.messages.create(**ASK)
    assert said(message) == chatted(client)
    assert (message.model, message.role, message.stop_reason) == (CHAT_MODEL, "assistant", "max_tokens")
    assert message.usage.output_tokens == TOKENS


def test_streamed_message_is_the_whole_one(claude: Anthropic) -> None:
    whole = claude.messages.create(**ASK)
    with claude.messages.stream(**ASK) as events:
        assert "".join(events.text_stream) == said(whole)
        message = events.get_final_message()
    assert (said(message), message.stop_reason) == (said(whole), "max_tokens")
    assert message.usage.output_tokens == whole.usage.output_tokens
    assert message.usage.input_tokens == whole.usage.input_tokens


def test_counted_tokens_are_those_of_the_message(claude: Anthropic) -> None:
    counted = claude.messages.count_tokens(model=CHAT_MODEL, system=SYSTEM, messages=ASK["messages"])
    used = claude.messages.create(**ASK).usage
    assert counted.input_tokens == used.input_tokens + (used.cache_read_input_tokens or 0)


def test_stop_sequence_is_told(claude: Anthropic) -> None:
    text = said(claude.messages.create(**ASK))
    stop = text[len(text) // 2 :][:6]
    message = claude.messages.create(**{**ASK, "stop_sequences": ["never to be seen", stop]})
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)
    assert said(message) == text[: text.index(stop)]
    with claude.messages.stream(**{**ASK, "stop_sequences": [stop]}) as events:
        streamed = events.get_final_message()
    assert (streamed.stop_reason, streamed.stop_sequence, said(streamed)) == ("stop_sequence", stop, said(message))


def test_beginning_of_the_answer_is_continued(claude: Anthropic, client: OpenAI) -> None:
    begun: Any = {"role": "assistant", "content": "First, the water"}
    message = claude.messages.create(**{**ASK, "messages": [*ASK["messages"], begun]})
    continued = client.chat.completions.create(
        model=CHAT_MODEL,
        messages=[{"role": "system", "content": SYSTEM}, *ASK["messages"], begun],
        max_tokens=TOKENS,
        temperature=0,
        extra_body={"ignore_eos": True, "continue_final_message": True, "add_generation_prompt": False},
    )
    assert said(message) == continued.choices[0].message.content


def test_messages_errors(claude: Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(**{**ASK, "model": EMBEDDING_MODEL})
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(anthropic.BadRequestError, match="tokens"):
        claude.messages.create(**{**ASK, "messages": [{"role": "user", "content": "mill " * 20_000}]})


def test_client_that_leaves_frees_the_engine(claude: Anthropic, stack: Stack) -> None:
    with claude.messages.stream(**{**ASK, "max_tokens": 4000}) as events:
        for _ in events.text_stream:
            break
    stack.wait_running(0)


# ---- responses ----


def test_response_says_what_a_chat_completion_says(client: OpenAI) -> None:
    fields: dict[str, Any] = {
        "model": CHAT_MODEL,
        "instructions": SYSTEM,
        "input": QUESTION,
        "max_output_tokens": TOKENS,
        "temperature": 0,
        "extra_body": {"ignore_eos": True},
    }
    text = chatted(client)
    whole = client.responses.create(**fields)
    assert (whole.output_text, whole.status) == (text, "incomplete")
    assert whole.usage is not None
    assert whole.usage.output_tokens == TOKENS
    events = list(client.responses.create(**fields, stream=True))
    assert (events[0].type, events[-1].type) == ("response.created", "response.incomplete")
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == text
    assert events[-1].response.output_text == text
    assert events[-1].response.usage == whole.usage


def test_conversation_goes_on_from_a_stored_response(client: OpenAI) -> None:
    first = client.responses.create(model=CHAT_MODEL, input=QUESTION, max_output_tokens=8)
    second = client.responses.create(
        model=CHAT_MODEL, input="And then?", max_output_tokens=8, previous_response_id=first.id
    )
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    assert client.responses.retrieve(first.id).output_text == first.output_text
    client.responses.delete(first.id)
    with pytest.raises(NotFoundError):
        client.responses.create(model=CHAT_MODEL, input="x", previous_response_id=first.id)


# ---- tokens ----


@pytest.mark.parametrize("model", [CHAT_MODEL, EMBEDDING_MODEL])
def test_tokens_and_back(stack: Stack, model: str) -> None:
    text = "the wheel of a mill"
    with stack.call("/tokenize", {"model": model, "prompt": text, "add_special_tokens": False}) as call:
        answer = call.json()
    assert answer["count"] == len(answer["tokens"]) > 0
    with stack.call("/detokenize", {"model": model, "tokens": answer["tokens"]}) as call:
        assert call.json() == {"prompt": text}

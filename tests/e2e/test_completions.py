from __future__ import annotations

from typing import Any

import pytest
from openai import OpenAI
from openai.types import Completion

from tests.e2e.stack import CHAT_MODEL

pytestmark = pytest.mark.e2e

PROMPTS = ["The water of the river", "A wheel of oak"]
GREEDY: dict[str, Any] = {"model": CHAT_MODEL, "temperature": 0, "max_tokens": 16, "extra_body": {"ignore_eos": True}}


def complete(client: OpenAI, prompt: str | list[str] | list[int], **changes: Any) -> Completion:
    answer = client.completions.create(**{**GREEDY, **changes}, prompt=prompt)
    assert isinstance(answer, Completion)
    return answer


def test_a_stream_says_what_an_answer_says(client: OpenAI) -> None:
    answer = complete(client, PROMPTS[0])
    assert answer.object == "text_completion"
    assert answer.choices[0].finish_reason == "length"
    *chunks, last = client.completions.create(
        **GREEDY, prompt=PROMPTS[0], stream=True, stream_options={"include_usage": True}
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == answer.choices[0].text
    assert (last.choices, last.usage) == ([], answer.usage)


def test_several_prompts(client: OpenAI) -> None:
    together = complete(client, PROMPTS)
    alone = [complete(client, prompt) for prompt in PROMPTS]
    assert [choice.index for choice in together.choices] == [0, 1]
    assert [choice.text for choice in together.choices] == [answer.choices[0].text for answer in alone]
    assert together.usage is not None
    assert together.usage.prompt_tokens == sum(answer.usage.prompt_tokens for answer in alone if answer.usage)


def test_a_stop_string(client: OpenAI) -> None:
    text = complete(client, PROMPTS[1]).choices[0].text
    stop = text[len(text) // 2 :][:4]
    answer = complete(client, PROMPTS[1], stop=stop).choices[0]
    assert (answer.text, answer.finish_reason) == (text[: text.index(stop)], "stop")


def test_log_probabilities(client: OpenAI) -> None:
    first, again = (complete(client, PROMPTS[0], logprobs=1).choices[0].logprobs for _ in range(2))
    assert first is not None
    assert again is not None
    assert first.tokens == again.tokens
    assert first.token_logprobs == pytest.approx(again.token_logprobs, abs=1e-3)

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.errors import InvalidRequest
from headrace.openai.completion import CompletionRequest
from headrace.openai.rules import Rules


def make(prompt: Any, rules: Rules | None = None, **fields: Any) -> CompletionRequest:
    request = CompletionRequest.decode(msgspec.json.encode({"model": "m", "prompt": prompt, **fields}))
    request.check(rules or Rules())
    return request


@pytest.mark.parametrize(
    ("prompt", "sequences"), [("hi", 2), (["a", "b", "c"], 6), ([1, 2, 3], 2), ([[1, 2], [3]], 4), (["a"], 2)]
)
def test_sequences_are_counted_over_all_prompts(prompt: Any, sequences: int) -> None:
    request = make(prompt, n=2)
    assert request.n == sequences
    assert msgspec.json.decode(request.encode("m"))["prompt"] == prompt


@pytest.mark.parametrize(
    ("prompt", "param", "words"),
    [
        ("", "prompt", "must not be empty"),
        ([], "prompt", "must not be empty"),
        (["a", ""], "prompt[1]", "must not be empty"),
        ([[1], []], "prompt[1]", "must not be empty"),
        (["a", 1], "prompt", "only strings, only token ids"),
        ([[1], 1], "prompt", "only strings, only token ids"),
        ([-1], "prompt", "token ids must be between 0"),
        ([2**32], "prompt", "token ids must be between 0"),
        ([[-1]], "prompt[0][0]", "at least 0"),
        ([["a"]], "prompt[0][0]", "must be an integer, not a string"),
        ([True], "prompt[0]", "not true or false"),
        (None, "prompt", "must be a string or an array, not null"),
        (["a"] * 4, "prompt", "at most 3 items"),
    ],
)
def test_wrong_prompts_are_named(prompt: Any, param: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match="prompt") as caught:
        make(prompt, Rules(inputs=3))
    assert caught.value.param == param
    assert words in caught.value.message


def test_logprobs_are_a_bounded_count() -> None:
    assert make("hi", logprobs=20).fields.logprobs == 20
    with pytest.raises(InvalidRequest, match="logprobs: must be at most 20, not 21"):
        make("hi", logprobs=21)


def test_the_output_cap() -> None:
    assert make("hi", max_tokens=7).output_cap == 7

"""The rows of a request, and errors that name one of them."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.errors import InvalidRequest
from headrace.workers.bert.inputs import Inputs, prompts

VOCABULARY = 100


@pytest.mark.parametrize(
    ("value", "texts", "ids"),
    [
        ("", [""], []),
        ("one\x00two", ["one\x00two"], []),
        (["a", "", "水"], ["a", "", "水"], []),
        ([1, 2, 99], [], [[1, 2, 99]]),
        ([[1], [2, 3]], [], [[1], [2, 3]]),
    ],
)
def test_every_form_of_input_is_taken(value: Any, texts: list[str], ids: list[list[int]]) -> None:
    inputs = prompts(value, VOCABULARY)
    assert (list(inputs.texts), list(inputs.ids), len(inputs)) == (texts, ids, len(texts) + len(ids))


@pytest.mark.parametrize(
    ("value", "param", "words"),
    [
        ([], "input", "must not be empty"),
        ([[]], "input[0]", "must have at least one token"),
        ([[1], []], "input[1]", "must have at least one token"),
        (["a", 1], "input[1]", "must be a string as input[0] is, not an integer"),
        ([1, 2, "a"], "input[2]", "must be an integer as input[0] is, not a string"),
        ([[1], "a"], "input[1]", "must be an array as input[0] is, not a string"),
        ([1, 100], "input", "token ids must be between 0 and 99"),
        ([-1], "input", "token ids must be between 0 and 99"),
        ([[1], [1, 2, 3, 400]], "input[1]", "token ids must be between 0 and 99"),
        (["a"] * 2049, "input", "at most 2048 items, not 2049"),
    ],
)
def test_a_wrong_input_is_named(value: Any, param: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        prompts(value, VOCABULARY)
    assert caught.value.param == param
    assert words in caught.value.message


def test_2048_inputs_are_taken() -> None:
    assert len(prompts([""] * 2048, VOCABULARY)) == 2048


@pytest.mark.parametrize(("value", "name"), [("a", "input"), ([1], "input"), (["a", "b"], "input[1]")])
def test_an_input_that_is_too_long_is_named_with_the_counts(value: Any, name: str) -> None:
    with pytest.raises(InvalidRequest, match="has 300 tokens and this model reads at most 256") as caught:
        prompts(value, VOCABULARY).check_length(1, 300, 256)
    assert (caught.value.param, caught.value.code) == (name, "context_length_exceeded")


def test_a_prompt_goes_before_texts_and_not_before_ids() -> None:
    assert prompts("a", VOCABULARY, "query: ").texts == ["query: a"]
    assert prompts(["a", "b"], VOCABULARY, "query: ").texts == ["query: a", "query: b"]
    assert prompts([1, 2], VOCABULARY, "query: ").ids == [[1, 2]]


def test_a_pair_that_is_too_long_says_so() -> None:
    with pytest.raises(InvalidRequest, match=r"documents\[0\]: has 300 tokens with what it is compared to"):
        Inputs("documents", [("query", "text")], single=False).check_length(0, 300, 256)


def test_a_row_without_tokens_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="input: has no tokens"):
        Inputs.of("input", "").check_length(0, 0, 256)

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from headrace.errors import ApiError, InvalidRequest, NotFound
from headrace.workers.bert import requests
from headrace.workers.bert.requests import EmbeddingBody, Inputs, TokenizeBody

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
    inputs = Inputs(value, VOCABULARY)
    assert (inputs.texts, inputs.ids, len(inputs)) == (texts, ids, len(texts) + len(ids))


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
        Inputs(value, VOCABULARY)
    assert caught.value.param == param
    assert words in caught.value.message


def test_2048_inputs_are_taken() -> None:
    assert len(Inputs([""] * 2048, VOCABULARY)) == 2048


@pytest.mark.parametrize(("value", "name"), [("a", "input"), ([1], "input"), (["a", "b"], "input[1]")])
def test_an_input_that_is_too_long_is_named_with_the_counts(value: Any, name: str) -> None:
    with pytest.raises(InvalidRequest, match="has 300 tokens and this model reads at most 256") as caught:
        Inputs(value, VOCABULARY).check_length(1, 300, 256)
    assert (caught.value.param, caught.value.code) == (name, "context_length_exceeded")


@pytest.mark.parametrize(
    ("body", "error", "param"),
    [
        (b"[1]", InvalidRequest, None),
        (b"{", InvalidRequest, None),
        (rb'{"model": "m", "input": "\ud800"}', InvalidRequest, None),
        (b'{"model": "m"}', InvalidRequest, "input"),
        (b'{"input": "a"}', InvalidRequest, "model"),
        (b'{"model": "m", "input": {"text": "a"}}', InvalidRequest, "input"),
        (b'{"model": "m", "input": ["a", null]}', InvalidRequest, "input[1]"),
        (b'{"model": "m", "input": [[1, 2.5]]}', InvalidRequest, "input[0][1]"),
        (b'{"model": "m", "input": "a", "encoding_format": "hex"}', InvalidRequest, "encoding_format"),
        (b'{"model": "m", "input": "a", "dimensions": 0}', InvalidRequest, "dimensions"),
        (b'{"model": "m", "input": "a", "truncate": 1}', InvalidRequest, "truncate"),
        (b'{"model": "other", "input": "a"}', NotFound, "model"),
    ],
)
def test_a_wrong_field_is_named(body: bytes, error: type[ApiError], param: str | None) -> None:
    with pytest.raises(error) as caught:
        requests.read(body, EmbeddingBody, "m")
    assert caught.value.param == param


def test_the_model_may_be_left_out_where_vllm_lets_it() -> None:
    assert requests.read(b'{"prompt": "a"}', TokenizeBody, "m").prompt == "a"
    with pytest.raises(NotFound, match="serves 'm'"):
        requests.read(b'{"prompt": "a", "model": "x"}', TokenizeBody, "m")


def test_more_dimensions_than_there_are_is_an_error() -> None:
    requests.check_dimensions(None, 8)
    requests.check_dimensions(8, 8)
    with pytest.raises(InvalidRequest, match=r"dimensions: must be at most 8, .* not 9"):
        requests.check_dimensions(9, 8)


def test_shortened_vectors_are_the_first_dimensions_at_length_one() -> None:
    vectors = np.array([[3, 4, 12], [0, 0, 1]], np.float32)
    short = requests.shorten(vectors, 2)
    assert short.dtype == np.float32
    np.testing.assert_allclose(short, np.array([[0.6, 0.8], [0, 0]], np.float32), rtol=1e-6)
    assert requests.shorten(vectors, None) is vectors
    assert requests.shorten(vectors, 3) is vectors


async def test_the_answer_has_openai_s_shape() -> None:
    body = await requests.answer(np.array([[0.5, -1], [0, 2]], np.float32), "float", "m", 7)
    assert json.loads(body) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [0.0, 2.0]},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


async def test_both_formats_carry_the_same_bits() -> None:
    vectors = np.random.default_rng(5).standard_normal((200, 3)).astype(np.float32)
    floats = json.loads(await requests.answer(vectors, "float", "m", 1))["data"]
    packed = json.loads(await requests.answer(vectors, "base64", "m", 1))["data"]
    assert [item["index"] for item in floats] == [item["index"] for item in packed] == list(range(200))
    for vector, plain, binary in zip(vectors, floats, packed, strict=True):
        assert np.array(plain["embedding"], np.float32).tobytes() == vector.tobytes()
        assert base64.b64decode(binary["embedding"]) == vector.astype("<f4").tobytes()

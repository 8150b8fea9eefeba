"""Embeddings: prompts, dimensions, and the answer's shape."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from headrace.errors import InvalidRequest
from headrace.workers.bert import embedding
from headrace.workers.bert.sentence import Sentence


def test_a_prompt_is_asked_for_by_its_name() -> None:
    sentence = Sentence(prompts={"query": "q: ", "document": "d: "}, default_prompt="document")
    assert embedding.prefix(sentence, "query") == "q: "
    assert embedding.prefix(sentence, None) == "d: "
    assert embedding.prefix(Sentence(), None) == ""
    with pytest.raises(InvalidRequest, match="prompt_name: must be one of query, document"):
        embedding.prefix(sentence, "passage")
    with pytest.raises(InvalidRequest, match="this model has no prompts"):
        embedding.prefix(Sentence(), "query")


def test_a_model_made_for_some_dimensions_is_cut_to_these_only() -> None:
    embedding.check_dimensions(4, 8, (2, 4))
    embedding.check_dimensions(8, 8, (2, 4))
    with pytest.raises(InvalidRequest, match=r"dimensions: must be one of 2, 4, 8, .* not 3"):
        embedding.check_dimensions(3, 8, (2, 4))


def test_vectors_that_were_not_of_length_one_are_only_cut() -> None:
    vectors = np.array([[3, 4, 12]], np.float32)
    np.testing.assert_array_equal(embedding.shorten(vectors, 2, normalize=False), [[3, 4]])


def test_more_dimensions_than_there_are_is_an_error() -> None:
    embedding.check_dimensions(None, 8, ())
    embedding.check_dimensions(8, 8, ())
    embedding.check_dimensions(3, 8, ())
    with pytest.raises(InvalidRequest, match=r"dimensions: must be at most 8, .* not 9"):
        embedding.check_dimensions(9, 8, ())


def test_shortened_vectors_are_the_first_dimensions_at_length_one() -> None:
    vectors = np.array([[3, 4, 12], [0, 0, 1]], np.float32)
    short = embedding.shorten(vectors, 2, normalize=True)
    assert short.dtype == np.float32
    np.testing.assert_allclose(short, np.array([[0.6, 0.8], [0, 0]], np.float32), rtol=1e-6)
    assert embedding.shorten(vectors, None, normalize=True) is vectors
    assert embedding.shorten(vectors, 3, normalize=True) is vectors


async def test_the_answer_has_openai_s_shape() -> None:
    body = await embedding.answer(np.array([[0.5, -1], [0, 2]], np.float32), "float", "m", 7)
    assert json.loads(body) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [0.0, 2.0]},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7, "completion_tokens": 0},
    }


async def test_both_formats_carry_the_same_bits() -> None:
    vectors = np.random.default_rng(5).standard_normal((200, 3)).astype(np.float32)
    floats = json.loads(await embedding.answer(vectors, "float", "m", 1))["data"]
    packed = json.loads(await embedding.answer(vectors, "base64", "m", 1))["data"]
    assert [item["index"] for item in floats] == [item["index"] for item in packed] == list(range(200))
    for vector, plain, binary in zip(vectors, floats, packed, strict=True):
        assert np.array(plain["embedding"], np.float32).tobytes() == vector.tobytes()
        assert base64.b64decode(binary["embedding"]) == vector.astype("<f4").tobytes()

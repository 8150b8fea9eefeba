from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from openai import OpenAI

from tests.e2e.stack import EMBEDDING_MODEL, EMBEDDINGS, Stack

pytestmark = pytest.mark.e2e

Vectors = NDArray[np.float32]


class Reference(NamedTuple):
    """What sentence-transformers computed: a row a text."""

    texts: list[str]
    vectors: Vectors


@pytest.fixture(scope="module")
def reference() -> Reference:
    document = json.loads((Path(__file__).parents[1] / "samples" / "minilm_reference.json").read_text())
    samples = [sample for sample in document["samples"] if sample["text"]]  # the API refuses an empty text
    rows = [np.frombuffer(base64.b64decode(sample["vector"]), "<f4") for sample in samples]
    return Reference([sample["text"] for sample in samples], np.stack(rows))


def embed(client: OpenAI, texts: str | list[str], **options: Any) -> Vectors:
    answer = client.embeddings.create(model=EMBEDDING_MODEL, input=texts, extra_body={"truncate": True}, **options)
    assert answer.model == EMBEDDING_MODEL
    assert [row.index for row in answer.data] == list(range(len(answer.data)))
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    return np.array([row.embedding for row in answer.data], np.float32)


def cosines(a: Vectors, b: Vectors) -> Vectors:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    product: Vectors = (a * b).sum(axis=1) / norms
    return product


@pytest.mark.parametrize("form", ["float", "base64"])
def test_vectors_are_those_of_sentence_transformers(client: OpenAI, reference: Reference, form: str) -> None:
    vectors = embed(client, reference.texts, encoding_format=form) if form == "float" else _base64(client, reference)
    assert cosines(vectors, reference.vectors).min() >= 0.999


def _base64(client: OpenAI, reference: Reference) -> Vectors:
    """The SDK decodes by itself only what it asked for by itself, so that here the text is to be seen."""
    answer = client.embeddings.create(
        model=EMBEDDING_MODEL, input=reference.texts, encoding_format="base64", extra_body={"truncate": True}
    )
    texts: list[Any] = [row.embedding for row in answer.data]
    assert all(isinstance(text, str) for text in texts)
    return np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in texts])


def test_what_the_sdk_asks_for_by_itself(client: OpenAI, reference: Reference) -> None:
    vectors = embed(client, reference.texts[:4])
    assert cosines(vectors, reference.vectors[:4]).min() >= 0.999
    assert cosines(vectors, embed(client, reference.texts[:4], encoding_format="float")).min() >= 0.9999


def test_one_text(client: OpenAI, reference: Reference) -> None:
    vectors = embed(client, reference.texts[2])
    assert cosines(vectors, reference.vectors[2:3]).min() >= 0.999


def test_64_texts_come_back_in_order(client: OpenAI, reference: Reference) -> None:
    order = np.random.default_rng(7).integers(len(reference.texts), size=64)
    vectors = embed(client, [reference.texts[index] for index in order])
    assert cosines(vectors, reference.vectors[order]).min() >= 0.999


def test_a_text_that_is_too_long(stack: Stack) -> None:
    with stack.call(EMBEDDINGS, {"model": EMBEDDING_MODEL, "input": ["short", "word " * 598]}) as call:
        assert call.status == 400
        assert call.json()["error"] | {"message": ""} == {
            "message": "",
            "type": "invalid_request_error",
            "param": "input[1]",
            "code": "context_length_exceeded",
        }

"""Classification, reranking, scoring and moderation on the whole platform, by models of a few kilobytes.

``tests/samples/make_encoders.py`` made them: they prove the path, not quality.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai import BadRequestError, OpenAI

from tests.e2e.conftest import kept
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

ENCODERS = Path(__file__).parents[1] / "samples" / "encoders"
REFERENCES: dict[str, Any] = json.loads((ENCODERS / "references.json").read_text())
FEELINGS, TOPICS, RANKER, RETRIEVER = "bert-feelings", "bert-topics", "bert-ranker", "bert-retriever"


@pytest.fixture(scope="module")
def platform(models: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Stack]:
    workers = [
        {"model": str(ENCODERS / name), "engine": "bert", "settings": {"precision": "f32"}}
        for name in (FEELINGS, TOPICS, RANKER, RETRIEVER)
    ]
    settings = {"up": {"workers": workers}, "router": {"cold_wait": 60}}
    stack = Stack(tmp_path_factory.mktemp("scoring"), models, settings)
    with kept(pytestconfig, stack):
        stack.start()
        yield stack


@pytest.fixture
def sdk(platform: Stack) -> Iterator[OpenAI]:
    with closing(platform.client()) as client:
        yield client


def post(sdk: OpenAI, path: str, **body: Any) -> Any:
    """By the SDK's own connection, for endpoints that OpenAI does not have."""
    return sdk.post(path, body=body, cast_to=object)


def test_classes_are_those_of_transformers(sdk: OpenAI) -> None:
    samples = REFERENCES[FEELINGS]
    answer = post(sdk, "/classify", model=FEELINGS, input=[sample["text"] for sample in samples], truncate=True)
    powers = np.exp([sample["logits"] for sample in samples])
    np.testing.assert_allclose(
        [row["probs"] for row in answer["data"]], powers / powers.sum(axis=1, keepdims=True), atol=1e-3
    )


PAIRS = [sample for sample in REFERENCES[RANKER] if all(sample["text"])]
"""llm-api refuses empty texts, where there is nothing to compare."""


def test_documents_come_back_best_first(sdk: OpenAI) -> None:
    query, texts = "mill", [sample["text"][1] for sample in PAIRS]
    answer = post(sdk, "/rerank", model=RANKER, query=query, documents=texts, truncate=True)
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert sorted(result["index"] for result in answer["results"]) == list(range(len(texts)))


def test_scores_are_those_of_sentence_transformers(sdk: OpenAI) -> None:
    firsts, seconds = [sample["text"][0] for sample in PAIRS], [sample["text"][1] for sample in PAIRS]
    answer = post(sdk, "/score", model=RANKER, text_1=firsts, text_2=seconds, truncate=True)
    np.testing.assert_allclose(
        [row["score"] for row in answer["data"]], [sample["score"] for sample in PAIRS], atol=1e-3
    )


def test_moderation_is_a_classifier_behind_openais_shape(sdk: OpenAI) -> None:
    answer = sdk.moderations.create(model=TOPICS, input=[sample["text"] for sample in REFERENCES[TOPICS][:2]])
    assert answer.model == TOPICS
    assert len(answer.results) == 2


def test_matryoshka_dimensions_and_prompts(sdk: OpenAI) -> None:
    whole = sdk.embeddings.create(model=RETRIEVER, input="mill").data[0].embedding
    with pytest.raises(BadRequestError, match="dimensions: must be"):
        sdk.embeddings.create(model=RETRIEVER, input="mill", dimensions=len(whole) + 1)


def test_model_for_another_task_is_refused(sdk: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        sdk.embeddings.create(model=RANKER, input="mill")
    assert caught.value.code == "wrong_modality"

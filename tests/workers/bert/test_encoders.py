"""Every kind of model folder, from its files to numbers, against what transformers and sentence-transformers compute.

``tests/samples/make_encoders.py`` made the folders and the references.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.workers.bert import folder
from headrace.workers.bert.openvino import OpenVinoBackend
from headrace.workers.bert.tokens import Ids, Text, Tokens
from tests.workers.bert.harness import as_batch

ENCODERS = Path(__file__).parents[2] / "samples" / "encoders"
REFERENCES: dict[str, Any] = json.loads((ENCODERS / "references.json").read_text())
CLASSIFIERS = [name for name in REFERENCES if name.endswith(("feelings", "topics"))]
RANKERS = [name for name in REFERENCES if name.endswith("ranker")]
EMBEDDERS = [name for name in REFERENCES if name.endswith(("retriever", "last", "mean"))]


def tokenise(model: folder.ModelFolder, texts: list[Text]) -> list[Ids]:
    async def run() -> list[Ids]:
        tokens = Tokens(model)
        rows = [row async for piece in tokens.encode_many(texts, limit=model.context) for row in piece]
        tokens.close()
        return rows

    return asyncio.run(run())


def compute(model: folder.ModelFolder, texts: list[Text]) -> NDArray[np.float32]:
    """All in one batch, so that most rows are padded."""
    return OpenVinoBackend(model, "f32").infer(as_batch(tokenise(model, texts)))


def test_every_kind_has_a_reference() -> None:
    assert {path.name for path in ENCODERS.iterdir() if path.is_dir()} == {*CLASSIFIERS, *RANKERS, *EMBEDDERS}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_logits_of_classifiers(name: str) -> None:
    model = folder.read(ENCODERS / name)
    assert model.task == "classification"
    logits = compute(model, [sample["text"] for sample in REFERENCES[name]])
    np.testing.assert_allclose(logits, [sample["logits"] for sample in REFERENCES[name]], atol=1e-4)


@pytest.mark.parametrize("name", RANKERS)
def test_logits_and_scores_of_pairs(name: str) -> None:
    model = folder.read(ENCODERS / name)
    assert model.task == "rerank"
    assert model.labels is not None
    logits = compute(model, [tuple(sample["text"]) for sample in REFERENCES[name]])
    np.testing.assert_allclose(logits, [sample["logits"] for sample in REFERENCES[name]], atol=1e-4)
    scores = [[sample["score"]] for sample in REFERENCES[name]]
    np.testing.assert_allclose(model.labels.activate(logits), scores, atol=1e-4)


@pytest.mark.parametrize("name", EMBEDDERS)
def test_vectors_of_texts_with_their_prompts(name: str) -> None:
    model = folder.read(ENCODERS / name)
    assert model.task == "embedding"
    samples = REFERENCES[name]
    vectors = compute(model, [model.sentence.prompt(sample["prompt"]) + sample["text"] for sample in samples])
    np.testing.assert_allclose(vectors, [sample["vector"] for sample in samples], atol=1e-4)


@pytest.mark.parametrize("name", ["bert-ranker", "bert-feelings", "mpnet-mean"])
def test_what_is_in_the_batch_changes_nothing(name: str) -> None:
    model = folder.read(ENCODERS / name)
    sample = REFERENCES[name][0]["text"]
    text: Text = tuple(sample) if isinstance(sample, list) else sample
    other: Text = ("mill", "mill " * 30) if isinstance(sample, list) else "mill " * 30
    alone, beside = compute(model, [text])[0], compute(model, [text, other])[0]
    np.testing.assert_allclose(alone, beside, atol=1e-5)

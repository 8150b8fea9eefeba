"""The backend for GPUs against the same references as the one for CPUs. Where torch is but no GPU, on torch's CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace.workers.bert import folder
from headrace.workers.bert.tokens import Text
from tests.workers.bert.harness import as_batch
from tests.workers.bert.test_encoders import CLASSIFIERS, EMBEDDERS, ENCODERS, RANKERS, REFERENCES, tokenise

pytestmark = pytest.mark.gpu
BUILT = [name for name in (*CLASSIFIERS, *RANKERS, *EMBEDDERS) if not name.startswith("onnx")]


def texts_of(model: folder.ModelFolder, samples: list[dict[str, Any]]) -> list[Text]:
    if model.task == "rerank":
        return [(sample["text"][0], sample["text"][1]) for sample in samples]
    if model.task == "embedding":
        return [model.sentence.prompt(sample["prompt"]) + sample["text"] for sample in samples]
    return [sample["text"] for sample in samples]


@pytest.mark.parametrize("name", BUILT)
def test_numbers_are_those_of_transformers(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: requirements/bert-cuda.txt")
    from headrace.workers.bert.cuda import CudaBackend

    model = folder.read(ENCODERS / name)
    samples = REFERENCES[name]
    backend = CudaBackend(model, "f32", device="cuda" if torch.cuda.is_available() else "cpu")
    expected = [sample["vector" if model.task == "embedding" else "logits"] for sample in samples]
    np.testing.assert_allclose(backend.infer(as_batch(tokenise(model, texts_of(model, samples)))), expected, atol=1e-3)

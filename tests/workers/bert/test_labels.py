"""What a classifier's own files say of its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.errors import ModelError
from headrace.workers.bert.labels import Labels, read_labels
from tests.workers.bert.harness import write_json

TWO = {"id2label": {"0": "no", "1": "yes"}}
ONE = {"id2label": {"0": "LABEL_0"}}


@pytest.mark.parametrize(
    ("document", "names", "activation"),
    [
        (TWO, ("no", "yes"), "softmax"),
        (TWO | {"problem_type": "multi_label_classification"}, ("no", "yes"), "sigmoid"),
        (TWO | {"problem_type": "regression"}, ("no", "yes"), "identity"),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2"), "softmax"),
        (ONE, ("LABEL_0",), "sigmoid"),
        (ONE | {"problem_type": "regression"}, ("LABEL_0",), "identity"),
        (
            ONE | {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
            ("LABEL_0",),
            "identity",
        ),
        (ONE | {"sbert_ce_default_activation_function": "torch.nn.Sigmoid"}, ("LABEL_0",), "sigmoid"),
    ],
)
def test_names_and_activation_are_the_model_s_own(
    tmp_path: Path, document: dict[str, Any], names: tuple[str, ...], activation: str
) -> None:
    assert read_labels(tmp_path / "config.json", document) == Labels(names, activation)  # type: ignore[arg-type]


def test_activation_may_lie_beside_the_config(tmp_path: Path) -> None:
    write_json(tmp_path / "config_sentence_transformers.json", {"activation_fn": "torch.nn.Identity"})
    assert read_labels(tmp_path / "config.json", ONE).activation == "identity"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "id2label must name the labels 0 to 1"),
        ({"id2label": {}}, "has no labels"),
        (ONE | {"sbert_ce_default_activation_function": "torch.nn.Tanh"}, "torch.nn.Tanh is not served"),
    ],
)
def test_labels_that_cannot_be_served_are_refused(tmp_path: Path, document: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read_labels(tmp_path / "config.json", document)


def test_probabilities_of_huge_logits_are_finite() -> None:
    logits = np.array([[1000, -1000]], np.float32)
    np.testing.assert_allclose(Labels(("a", "b"), "softmax").activate(logits), [[1, 0]])
    np.testing.assert_allclose(Labels(("a", "b"), "sigmoid").activate(logits), [[1, 0]])
    np.testing.assert_array_equal(Labels(("a", "b"), "identity").activate(logits), logits)

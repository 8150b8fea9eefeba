"""What the numbers of a classifier mean: names, and how logits become probabilities or scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.errors import ModelError
from headrace.workers.bert.files import FETCH, convert, read_optional

Activation = Literal["softmax", "sigmoid", "identity"]

_MODULES: Mapping[str, Activation] = {"Sigmoid": "sigmoid", "Identity": "identity"}
"""torch's modules, which sentence-transformers names in a cross-encoder's configuration."""


@dataclass(frozen=True, slots=True)
class Labels:
    """``names`` are in the order of the logits; a model with one label scores, one with more classifies."""

    names: tuple[str, ...]
    activation: Activation

    def activate(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities or scores (rows × labels) of logits."""
        if self.activation == "identity":
            return logits
        if self.activation == "sigmoid":
            # tanh overflows nowhere, other than exp
            return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


class _Sentence(msgspec.Struct):
    activation_fn: str | None = None


class _Config(msgspec.Struct):
    id2label: dict[str, str] | None = None
    num_labels: int = 2
    """What transformers takes where neither is said."""
    problem_type: str | None = None
    sentence_transformers: _Sentence | None = None
    sbert_ce_default_activation_function: str | None = None


def read_labels(path: Path, document: dict[str, Any]) -> Labels:
    """From ``config.json`` at ``path``, as transformers and sentence-transformers write it. Raises ModelError."""
    config = convert(path, document, _Config)
    count = config.num_labels if config.id2label is None else len(config.id2label)
    given = config.id2label or {}
    if given and set(given) != set(map(str, range(count))):
        raise ModelError(f"{path}: id2label must name the labels 0 to {count - 1}; {FETCH}")
    names = tuple(given.get(str(index), f"LABEL_{index}") for index in range(count))
    if not names:
        raise ModelError(f"{path}: has no labels; {FETCH}")
    if len(names) == 1:
        return Labels(names, _scoring(path, config))
    by_problem: Mapping[str | None, Activation] = {
        "multi_label_classification": "sigmoid",
        "regression": "identity",
    }
    return Labels(names, by_problem.get(config.problem_type, "softmax"))


def _scoring(path: Path, config: _Config) -> Activation:
    """As sentence-transformers' ``CrossEncoder`` does: its newest place for the activation first, else the sigmoid."""
    if config.problem_type == "regression":
        return "identity"
    module = config.sentence_transformers.activation_fn if config.sentence_transformers else None
    module = module or config.sbert_ce_default_activation_function
    if module is None:
        beside = read_optional(path.with_name("config_sentence_transformers.json"), _Sentence)
        module = beside.activation_fn if beside else None
    if module is None:
        return "sigmoid"
    name = module.rpartition(".")[2]
    if name not in _MODULES:
        raise ModelError(f"{path}: the activation {module} is not served; Sigmoid and Identity are")
    return _MODULES[name]

"""The parameters of an encoder by what they are for, whatever a checkpoint calls them.

Five families that transformers tells apart are one network: BERT (arXiv:1810.04805), RoBERTa (arXiv:1907.11692, and
XLM-RoBERTa and CamemBERT, which are the same), ELECTRA's discriminator (arXiv:2003.10555), DistilBERT
(arXiv:1910.01108) and MPNet (arXiv:2004.09297). They differ in the names of their tensors, in where positions begin to
count, in segments, in MPNet's attention bias, and in the head that classifies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.errors import ModelError
from headrace.workers.bert.encoder import EncoderConfig

Array = NDArray[np.float32]
HeadActivation = Literal["tanh", "relu", "gelu"]

_BUCKETS = 32
_FARTHEST = 128
"""MPNet's relative positions: so many buckets, the last of which holds what is at least so far away."""


class Linear(NamedTuple):
    weight: Array
    """out × in"""
    bias: Array


class Norm(NamedTuple):
    weight: Array
    bias: Array


class Layer(NamedTuple):
    query: Linear
    key: Linear
    value: Linear
    attended: Linear
    attended_norm: Norm
    inner: Linear
    outer: Linear
    outer_norm: Norm


class Head(NamedTuple):
    """From the first token to one number a label: ``out(activation(dense(x)))``."""

    dense: Linear
    activation: HeadActivation
    out: Linear


class Network(NamedTuple):
    """All that an encoder has learnt, in float32."""

    words: Array
    """vocabulary × hidden"""
    places: Array
    """context × hidden, from a text's first token on; the first segment's embedding is added already."""
    second: Array | None
    """What is added to the tokens of a second text; None where the model has no segments."""
    norm: Norm
    layers: tuple[Layer, ...]
    relative: Array | None
    """heads × (2 × context - 1): added to the attention of a token to one that is ``column - context + 1`` after it."""
    head: Head | None


@dataclass(frozen=True, slots=True)
class Family:
    """Where the tensors of a family are."""

    prefix: str
    """In front of the encoder's names where the model has a head."""
    dense: str
    """The head's first layer; its second is ``out``."""
    activation: HeadActivation
    out: str
    layer: str = "encoder.layer."
    names: tuple[str, ...] = (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    )
    """As ``Layer`` has its parts."""
    padded: bool = False
    """Whether positions count from the one after the padding's id, as fairseq's models do."""


_ROBERTA = Family("roberta.", "classifier.dense", "tanh", "classifier.out_proj", padded=True)
_DISTIL = (
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
)
_MPNET = (
    "attention.attn.q",
    "attention.attn.k",
    "attention.attn.v",
    "attention.attn.o",
    "attention.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
FAMILIES: Mapping[str, Family] = {
    "bert": Family("bert.", "bert.pooler.dense", "tanh", "classifier"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": Family("electra.", "classifier.dense", "gelu", "classifier.out_proj"),
    "distilbert": Family(
        "distilbert.", "pre_classifier", "relu", "classifier", layer="transformer.layer.", names=_DISTIL
    ),
    "mpnet": Family("mpnet.", "classifier.dense", "tanh", "classifier.out_proj", names=_MPNET, padded=True),
}
"""By transformers' ``model_type``."""


def network(config: EncoderConfig, weights: Mapping[str, Array], labels: int | None = None) -> Network:
    """Find the tensors of a model, with a head for ``labels`` where it classifies.

    Raises ModelError where one is missing or of another shape than ``config`` says.
    """
    return _Reader(config, weights).network(labels)


class _Reader:
    def __init__(self, config: EncoderConfig, weights: Mapping[str, Array]) -> None:
        self._config = config
        self._weights = weights
        self._family = FAMILIES[config.model_type]
        self._prefix = "" if "embeddings.word_embeddings.weight" in weights else self._family.prefix

    def network(self, labels: int | None) -> Network:
        config, family = self._config, self._family
        hidden = config.hidden_size
        words = self._tensor(f"{self._prefix}embeddings.word_embeddings.weight", config.vocab_size, hidden)
        places = self._tensor(
            f"{self._prefix}embeddings.position_embeddings.weight", config.max_position_embeddings, hidden
        )[config.first_position :]
        segments = self._weights.get(f"{self._prefix}embeddings.token_type_embeddings.weight")
        second = None
        if segments is not None:
            places = places + segments[0]
            second = segments[1] - segments[0] if len(segments) > 1 else None
        return Network(
            words,
            places,
            second,
            self._norm(f"{self._prefix}embeddings.LayerNorm"),
            tuple(self._layer(f"{self._prefix}{family.layer}{n}.") for n in range(config.num_hidden_layers)),
            self._relative(len(places)),
            None if labels is None else self._head(labels),
        )

    def _layer(self, name: str) -> Layer:
        query, key, value, attended, attended_norm, inner, outer, outer_norm = self._family.names
        hidden, wide = self._config.hidden_size, self._config.intermediate_size
        return Layer(
            self._linear(name + query, hidden, hidden),
            self._linear(name + key, hidden, hidden),
            self._linear(name + value, hidden, hidden),
            self._linear(name + attended, hidden, hidden),
            self._norm(name + attended_norm),
            self._linear(name + inner, wide, hidden),
            self._linear(name + outer, hidden, wide),
            self._norm(name + outer_norm),
        )

    def _head(self, labels: int) -> Head:
        family, hidden = self._family, self._config.hidden_size
        return Head(
            self._linear(family.dense, hidden, hidden), family.activation, self._linear(family.out, labels, hidden)
        )

    def _relative(self, context: int) -> Array | None:
        if self._config.model_type != "mpnet":
            return None
        name = f"{self._prefix}encoder.relative_attention_bias.weight"
        learnt = self._tensor(name, _BUCKETS, self._config.num_attention_heads)
        return np.ascontiguousarray(learnt[_bucket(np.arange(1 - context, context))].T)

    def _linear(self, name: str, rows: int, columns: int) -> Linear:
        return Linear(self._tensor(f"{name}.weight", rows, columns), self._tensor(f"{name}.bias", rows))

    def _norm(self, name: str) -> Norm:
        size = self._config.hidden_size
        # Checkpoints that came from TensorFlow call them as Keras does.
        parts = ("gamma", "beta") if f"{name}.gamma" in self._weights else ("weight", "bias")
        weight, bias = (self._tensor(f"{name}.{part}", size) for part in parts)
        return Norm(weight, bias)

    def _tensor(self, name: str, *shape: int) -> Array:
        tensor = self._weights.get(name)
        if tensor is None:
            raise ModelError(
                f"the weights lack {name}, which config.json's model type {self._config.model_type!r} has: "
                "the two are not of one model; pull it again"
            )
        if tensor.shape != shape:
            raise ModelError(f"{name} is of shape {tensor.shape}, config.json says {shape}; pull the model again")
        return tensor


def _bucket(offset: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bucket of a key's offset from its query, as transformers' ``MPNetEncoder`` computes it."""
    half = _BUCKETS // 2
    exact = half // 2
    distance = np.abs(offset)
    steps = np.log(np.maximum(distance, 1).astype(np.float32) / exact) / np.float32(math.log(_FARTHEST / exact))
    far = exact + (steps * np.float32(half - exact)).astype(np.int64)  # in float32, as it was trained
    near = np.where(distance < exact, distance, np.minimum(far, half - 1))
    buckets: NDArray[np.int64] = near + half * (offset > 0)
    return buckets

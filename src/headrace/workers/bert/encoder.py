"""``config.json`` of an encoder: what shapes the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from headrace.errors import ModelError
from headrace.workers.bert.files import FETCH, convert

Activation = Literal["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"]

_PADDED = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})
"""Model types whose positions count from the one after the padding's id, as fairseq's models do."""
_DISTIL = {
    "dim": "hidden_size",
    "hidden_dim": "intermediate_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "activation": "hidden_act",
}
"""DistilBERT's names."""


class EncoderConfig(msgspec.Struct, frozen=True):
    """The part of ``config.json`` that shapes the network, by the names that transformers' ``BertConfig`` has."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    hidden_act: Activation = "gelu"
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 1
    position_embedding_type: str = "absolute"
    embedding_size: int | None = None
    """ELECTRA's."""

    @property
    def first_position(self) -> int:
        return first_position(self.model_type, self.pad_token_id)


def first_position(model_type: str | None, padding: int) -> int:
    """The position of a text's first token, where ``padding`` is the id that pads."""
    return padding + 1 if model_type in _PADDED else 0


def encoder_config(path: Path, document: dict[str, Any]) -> EncoderConfig:
    """The typed view of a ``config.json``. Raises ModelError for a network that ``network.py`` does not compute."""
    names = _DISTIL if document.get("model_type") == "distilbert" else {}
    config = convert(path, {names.get(name, name): value for name, value in document.items()}, EncoderConfig)
    if config.position_embedding_type != "absolute":
        raise ModelError(
            f"{path}: position_embedding_type {config.position_embedding_type!r} is not served; only 'absolute' is"
        )
    if config.embedding_size not in (None, config.hidden_size):
        raise ModelError(
            f"{path}: embedding_size {config.embedding_size} beside hidden_size {config.hidden_size} is not served; "
            "export the model to ONNX, which bert-worker reads too"
        )
    if config.hidden_size % config.num_attention_heads:
        raise ModelError(
            f"{path}: hidden_size {config.hidden_size} is not a multiple of num_attention_heads "
            f"{config.num_attention_heads}; {FETCH}"
        )
    return config

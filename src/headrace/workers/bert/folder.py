"""What a model folder says about itself: shape of the network, longest input, pooling.

A folder is what Hugging Face's ``save_pretrained`` or sentence-transformers' ``save`` writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from headrace.errors import ModelError

Pooling = Literal["mean", "cls", "last"]
Activation = Literal["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"]

_FETCH = "pull the model again, or copy the file from where the folder came from"
_UNLIMITED = 1 << 30
"""tokenizers write 10**30 for "no limit"."""

T = TypeVar("T")


class NetworkConfig(msgspec.Struct):
    """The part of ``config.json`` that shapes the network (transformers' ``BertConfig``)."""

    model_type: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    hidden_act: Activation = "gelu"
    layer_norm_eps: float = 1e-12
    position_embedding_type: str = "absolute"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that was read and can be served."""

    path: Path
    network: NetworkConfig
    context: int
    """Longest input in tokens, special tokens included."""
    pooling: Pooling
    normalize: bool
    """Whether the vectors are of length 1."""

    @property
    def dimensions(self) -> int:
        return self.network.hidden_size

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"


class _Module(msgspec.Struct):
    type: str
    path: str = ""


class _SentenceConfig(msgspec.Struct):
    max_seq_length: int | None = None


class _TokenizerConfig(msgspec.Struct):
    model_max_length: float | None = None


def read(path: Path) -> ModelFolder:
    """Read the folder's own configuration. Raises ModelError, which names the file and says what to do."""
    if not path.is_dir():
        raise ModelError(f"{path}: there is no such folder; `headrace models pull demo` fetches the demo models")
    network = _network(path / "config.json")
    if not (path / "tokenizer.json").is_file():
        raise ModelError(f"{path / 'tokenizer.json'}: is missing; {_FETCH}")
    pooling, normalize = _modules(path)
    sentence = _optional(path / "sentence_bert_config.json", _SentenceConfig) or _SentenceConfig()
    tokenizer = _optional(path / "tokenizer_config.json", _TokenizerConfig) or _TokenizerConfig()
    limits = (network.max_position_embeddings, sentence.max_seq_length, tokenizer.model_max_length)
    context = int(min(limit for limit in limits if limit is not None and limit < _UNLIMITED))
    return ModelFolder(path, network, context, pooling, normalize)


def _network(path: Path) -> NetworkConfig:
    if not path.is_file():
        raise ModelError(f"{path}: is missing; a Hugging Face model folder has one; {_FETCH}")
    kind = _decode(path, dict[str, Any]).get("model_type")
    if kind != "bert":
        raise ModelError(f"{path}: model_type {kind!r} cannot be served by bert-worker; it serves 'bert'")
    network = _decode(path, NetworkConfig)
    if network.position_embedding_type != "absolute":
        raise ModelError(
            f"{path}: position_embedding_type {network.position_embedding_type!r} is not served; only 'absolute' is"
        )
    if network.hidden_size % network.num_attention_heads:
        raise ModelError(
            f"{path}: hidden_size {network.hidden_size} is not a multiple of num_attention_heads "
            f"{network.num_attention_heads}; {_FETCH}"
        )
    return network


def _modules(folder: Path) -> tuple[Pooling, bool]:
    """Pooling and normalisation as sentence-transformers' ``modules.json`` chains them.

    A folder without one is a bare encoder: mean pooling, as sentence-transformers does, and unit length, which
    clients of OpenAI's API rely on.
    """
    path = folder / "modules.json"
    modules = _optional(path, list[_Module])
    if modules is None:
        return "mean", True
    pooling: Pooling = "mean"
    normalize = False
    for module in modules:
        name = module.type.rpartition(".")[2]
        if name == "Pooling":
            pooling = _pooling(folder / module.path / "config.json")
        elif name == "Normalize":
            normalize = True
        elif name != "Transformer":
            raise ModelError(f"{path}: the module {name} is not served; Transformer, Pooling and Normalize are")
    return pooling, normalize


def _pooling(path: Path) -> Pooling:
    if not path.is_file():
        raise ModelError(f"{path}: is missing, but modules.json names it; {_FETCH}")
    config = _decode(path, dict[str, Any])
    known: dict[str, Pooling] = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last"}
    wanted = [key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on]
    if isinstance(mode := config.get("pooling_mode"), str):
        known, wanted = {"mean": "mean", "cls": "cls", "lasttoken": "last"}, [mode]
    if len(wanted) != 1 or wanted[0] not in known:
        raise ModelError(
            f"{path}: the pooling {' + '.join(wanted) or 'none'} is not served; one of {', '.join(known)} is"
        )
    return known[wanted[0]]


def _optional(path: Path, kind: type[T]) -> T | None:
    return _decode(path, kind) if path.is_file() else None


def _decode(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be used: {error}; {_FETCH}") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None

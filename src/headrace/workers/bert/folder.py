"""What a model folder says about itself: the task, the longest input, and in which form its weights are.

A folder is what Hugging Face's ``save_pretrained`` or sentence-transformers' ``save`` writes, or what an export to ONNX
or OpenVINO adds to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from headrace.errors import ModelError
from headrace.workers.bert.encoder import EncoderConfig, encoder_config, first_position
from headrace.workers.bert.files import FETCH, convert, read_json, read_optional
from headrace.workers.bert.labels import Labels, read_labels
from headrace.workers.bert.network import FAMILIES
from headrace.workers.bert.sentence import Sentence, read_sentence

Task = Literal["embedding", "classification", "rerank"]

_UNLIMITED = 1 << 30
"""tokenizers write 10**30 for "no limit"."""
_GRAPHS = ("model.onnx", "onnx/model.onnx", "openvino_model.xml", "openvino/openvino_model.xml")
"""Where an export keeps the whole network, as optimum and sentence-transformers lay it out."""
_GENERATORS = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that was read and can be served."""

    path: Path
    task: Task
    context: int
    """Longest input in tokens, special tokens included."""
    vocabulary: int
    """Token ids are below this."""
    encoder: EncoderConfig | None
    """How to build the network from weights; None where ``graph`` is the network."""
    graph: Path | None
    """A file in ONNX or OpenVINO's format that holds the whole network."""
    sentence: Sentence
    labels: Labels | None
    """None where the task is embedding."""
    matryoshka: tuple[int, ...]
    """The dimensions that vectors may be cut to, where the model names them; empty: any."""

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"


class _Config(msgspec.Struct):
    model_type: str | None = None
    vocab_size: int | None = None
    max_position_embeddings: int | None = None
    pad_token_id: int | None = None
    architectures: list[str] | None = None
    matryoshka_dimensions: list[int] | None = None


class _Sequence(msgspec.Struct):
    max_seq_length: int | None = None


class _Tokenizer(msgspec.Struct):
    model_max_length: float | None = None


def read(path: Path) -> ModelFolder:
    """Read the folder's own configuration. Raises ModelError, which names the file and says what to do."""
    if not path.is_dir():
        raise ModelError(f"{path}: there is no such folder; `headrace models pull demo` fetches the demo models")
    source = path / "config.json"
    if not source.is_file():
        raise ModelError(f"{source}: is missing; a Hugging Face model folder has one; {FETCH}")
    document = read_json(source, dict[str, Any])
    config = convert(source, document, _Config)
    architecture = next(iter(config.architectures or ()), "")
    if architecture.endswith(_GENERATORS):
        raise ModelError(f"{source}: {architecture} generates text: serve it with `headrace worker vllm` or `cpu`")
    _check_tokenizer(path)
    encoder, graph = _form(path, config, document)
    labels = read_labels(source, document) if architecture.endswith("ForSequenceClassification") else None
    task: Task = "embedding" if labels is None else "rerank" if len(labels.names) == 1 else "classification"
    return ModelFolder(
        path,
        task,
        _context(path, config),
        config.vocab_size or _UNLIMITED,
        encoder,
        graph,
        read_sentence(path) if labels is None else Sentence(),
        labels,
        tuple(sorted(config.matryoshka_dimensions or ())),
    )


def _check_tokenizer(path: Path) -> None:
    if not (path / "tokenizer.json").is_file():
        raise ModelError(
            f"{path / 'tokenizer.json'}: is missing; {FETCH}; where there is none, "
            "transformers' AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes it"
        )


def _form(path: Path, config: _Config, document: dict[str, Any]) -> tuple[EncoderConfig | None, Path | None]:
    """How the network comes: built from safetensors where we know it, else as a graph that was exported."""
    source, kind = path / "config.json", config.model_type
    graph = next((path / name for name in _GRAPHS if (path / name).is_file()), None)
    has_weights = any(path.glob("*.safetensors")) or (path / "model.safetensors.index.json").is_file()
    if kind in FAMILIES and (has_weights or graph is None):
        _check_weights(path, has_weights)
        return encoder_config(source, document), None
    if graph is not None:
        return None, graph
    raise ModelError(
        f"{source}: bert-worker builds {', '.join(sorted(FAMILIES))} from safetensors, and not {kind!r}: export it "
        "with `optimum-cli export onnx --model FOLDER FOLDER`; bert-worker serves any encoder as model.onnx"
    )


def _check_weights(path: Path, has_weights: bool) -> None:
    if has_weights:
        return
    pickled = next(path.glob("pytorch_model*.bin"), None)
    hint = (
        f"{pickled.name} can run code when it is read, so it is not: convert it with transformers' "
        "AutoModel.from_pretrained(folder).save_pretrained(folder)"
        if pickled
        else FETCH
    )
    raise ModelError(f"{path / 'model.safetensors'}: is missing; bert-worker reads safetensors or model.onnx; {hint}")


def _context(path: Path, config: _Config) -> int:
    sequence = read_optional(path / "sentence_bert_config.json", _Sequence) or _Sequence()
    tokenizer = read_optional(path / "tokenizer_config.json", _Tokenizer) or _Tokenizer()
    positions = config.max_position_embeddings
    if positions is not None:
        padding = 1 if config.pad_token_id is None else config.pad_token_id
        positions -= first_position(config.model_type, padding)
    limits = [positions, sequence.max_seq_length, tokenizer.model_max_length]
    known = [limit for limit in limits if limit is not None and limit < _UNLIMITED]
    if not known:
        raise ModelError(f"{path / 'config.json'}: says nothing of the longest input; add max_position_embeddings")
    return int(min(known))

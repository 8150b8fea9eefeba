"""The model folder: which file the engine loads, and what has to be known before it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import ModelError
from headrace.models import gguf, manifest
from headrace.models.describe import describe
from headrace.workers.cpu.messages import Precision

BLOCK_TOKENS = 32
"""Tokens a block of OpenVINO GenAI's KV cache on CPUs."""

KV_BYTES: dict[Precision, int] = {"f32": 4, "bf16": 2}
"""Bytes of a number in the KV cache."""

_ADVICE = "get it with `headrace models pull demo`, or point --model at a folder with a .gguf or an OpenVINO model"


class Model(msgspec.Struct, frozen=True):
    """A model that was looked at and found whole."""

    path: str
    """What the engine loads: the .gguf file, or the OpenVINO folder."""
    context: int
    """Tokens of prompt and output together."""
    kv_values: int
    """Numbers that the KV cache holds for a token: two vectors for each layer and head."""

    def kv_blocks(self, memory: int, precision: Precision) -> int:
        """How many blocks of the KV cache fit into ``memory`` bytes. Raises ModelError if none does."""
        blocks = memory // (BLOCK_TOKENS * self.kv_values * KV_BYTES[precision])
        if blocks < 2:
            raise ModelError(f"the KV cache is too small for {self.path}: raise kv_cache_mib")
        return blocks


def find(folder: Path) -> Model:
    """The model in ``folder``. Raises ModelError, which names the file at fault and what to do."""
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}: {_ADVICE}")
    known = manifest.read(folder)
    if known is not None and (missing := known.missing(folder)):
        raise ModelError(
            f"{folder / missing[0]} is missing or cut off: delete {folder} and run `headrace models pull {known.pull}`"
        )
    kind = describe(folder)
    if "cpu" not in kind.engines:
        raise ModelError(
            f"{folder} holds {kind.architecture} as {kind.format}, which OpenVINO GenAI does not generate text with: "
            "export the model to OpenVINO with optimum-intel, or serve it with another worker"
        )
    return _from_gguf(folder) if kind.format == "gguf" else _from_openvino(folder)


def _from_gguf(folder: Path) -> Model:
    files = sorted(folder.glob("*.gguf"))
    if len(files) > 1:
        raise ModelError(f"{folder} holds {len(files)} .gguf files, so which to serve is not clear: leave one there")
    path = files[0]
    head = gguf.read(path)
    layers, heads = head.number("block_count"), head.number("attention.head_count")
    width = head.number("embedding_length")
    kv_heads = head.number("attention.head_count_kv") or heads
    size = head.number("attention.key_length") or (width // heads if width and heads else None)
    context = head.number("context_length")
    return Model(str(path), *_checked(path, context, layers, kv_heads, size))


def _from_openvino(folder: Path) -> Model:
    path = folder / "config.json"
    try:
        config = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} cannot be read ({error}): export the model again with optimum-intel") from None
    heads, width = config.get("num_attention_heads"), config.get("hidden_size")
    size = config.get("head_dim") or (width // heads if width and heads else None)
    kv_heads = config.get("num_key_value_heads") or heads
    context = config.get("max_position_embeddings")
    return Model(str(folder), *_checked(path, context, config.get("num_hidden_layers"), kv_heads, size))


def _checked(path: Path, context: Any, layers: Any, kv_heads: Any, size: Any) -> tuple[int, int]:
    """Context and KV values a token. Raises ModelError where the file does not tell."""
    if not isinstance(context, int) or context < 1:
        raise ModelError(f"{path} does not tell the model's context length")
    if not all(isinstance(value, int) and value > 0 for value in (layers, kv_heads, size)):
        raise ModelError(f"{path} does not tell the sizes of the model's attention")
    return context, 2 * layers * kv_heads * size

"""What a model folder is: format, architecture, context length, and the engines that can serve it.

An engine is named as its worker is: ``headrace worker cpu|bert|vllm|trt``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import ModelError
from headrace.models import gguf
from headrace.models.weights import check_safetensors

_GENERATORS = ("ForCausalLM", "ForConditionalGeneration")
_ENCODERS = frozenset({"bert", "camembert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta"})
"""Whose network bert-worker builds itself."""
_GGUF_ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3"})
"""What OpenVINO GenAI reads from a GGUF: https://docs.openvino.ai, "Generative AI: GGUF"."""

_FORMATS = {
    "openvino": ("openvino_model.xml", "openvino_language_model.xml"),
    "tensorrt": ("rank*.engine",),
    "safetensors": ("*.safetensors",),
    "onnx": ("*.onnx", "onnx/*.onnx"),
    "pytorch": ("pytorch_model*.bin",),
}
"""Files by which a format is known, the one that is served first first."""


class Description(msgspec.Struct, frozen=True):
    """``format`` is gguf, openvino, safetensors, onnx, pytorch or tensorrt; ``context`` is in tokens."""

    format: str
    architecture: str
    context: int | None
    engines: tuple[str, ...]
    advice: str = ""
    """What to do where no engine can serve it."""
    sees: bool = False
    """Whether it takes images: such a model's ``config.json`` has a ``vision_config``."""


def describe(folder: Path) -> Description:
    """Look at the files of a folder. Raises ModelError where no engine can tell what to do with them."""
    if files := sorted(folder.glob("*.gguf")):
        return _describe_gguf(files[0])
    kind = _format(folder)
    config = _config(folder)
    if kind == "safetensors":
        check_safetensors(folder)
    if kind == "tensorrt":
        return _describe_tensorrt(config)
    return _describe_config(kind, config)


def foresee(paths: Collection[str], config: dict[str, Any]) -> Description | None:
    """What a folder with these files and this ``config.json`` will be; None where that does not tell."""
    if any(path.endswith(".gguf") for path in paths):
        return Description("gguf", "unknown", None, ("cpu",))
    if not config.get("architectures"):
        return None
    kind = next((kind for kind, patterns in _FORMATS.items() if any(map(partial(_fits, patterns), paths))), None)
    return _describe_config(kind, config) if kind is not None else None


def _fits(patterns: Sequence[str], path: str) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)


def _describe_config(kind: str, config: dict[str, Any]) -> Description:
    """A folder of weights with Hugging Face's ``config.json``."""
    architecture = next(iter(config.get("architectures") or ()), None) or str(config.get("model_type", "unknown"))
    context = config.get("max_position_embeddings")
    engines = _engines(kind, config, architecture)
    advice = "" if engines else _advise(kind, architecture)
    return Description(
        kind,
        str(architecture),
        context if isinstance(context, int) else None,
        engines,
        advice,
        "vision_config" in config,
    )


def _describe_tensorrt(config: dict[str, Any]) -> Description:
    """An engine that ``trtllm-build`` made: its config.json holds what it was built from and with."""
    built, origin = config.get("build_config"), config.get("pretrained_config")
    context = built.get("max_seq_len") if isinstance(built, dict) else None
    architecture = origin.get("architecture") if isinstance(origin, dict) else None
    return Description(
        "tensorrt", str(architecture or "unknown"), context if isinstance(context, int) else None, ("trt",)
    )


def _describe_gguf(path: Path) -> Description:
    try:
        head = gguf.read(path)
    except ModelError as error:
        raise ModelError(f"{error}: delete {path.parent} and pull the model again") from None
    architecture = str(head.metadata.get("general.architecture", "unknown"))
    known = architecture in _GGUF_ARCHITECTURES
    advice = f"of GGUF files, {', '.join(sorted(_GGUF_ARCHITECTURES))} can be served: pull the model as safetensors"
    return Description(
        "gguf", architecture, head.number("context_length"), ("cpu",) if known else (), "" if known else advice
    )


def _format(folder: Path) -> str:
    for kind, names in _FORMATS.items():
        if any(next(folder.glob(name), None) for name in names):
            return kind
    raise ModelError(
        f"{folder} holds no model: expected a .gguf file, or a Hugging Face folder with config.json and weights"
    )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        raise ModelError(f"{path} is missing: a folder with weights needs it; pull the model again") from None
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{path} cannot be read ({error}); pull the model again") from None


def _engines(kind: str, config: dict[str, Any], architecture: str) -> tuple[str, ...]:
    generates = architecture.endswith(_GENERATORS)
    if kind == "openvino":
        return ("cpu",) if generates else ("bert",)
    if generates:
        return ("vllm", "trt") if kind in ("safetensors", "pytorch") else ()
    built = config.get("model_type") in _ENCODERS and kind == "safetensors"
    return ("bert",) if built or kind == "onnx" else ()


def _advise(kind: str, architecture: str) -> str:
    """What to do with weights that no engine here reads."""
    if architecture.endswith(_GENERATORS):
        return f"no engine here generates text from {kind}: pull the model as safetensors or as GGUF"
    if kind in ("safetensors", "pytorch"):
        return (
            f"no engine here serves {architecture} as {kind}: take a model that generates text (…ForCausalLM), or "
            "export an encoder with `optimum-cli export onnx`"
        )
    return f"no engine here serves {architecture} as {kind}: pull the model as safetensors"

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.errors import ModelError
from headrace.models.describe import describe

if TYPE_CHECKING:
    from tests.models.conftest import GgufMaker

NO_TENSORS = b"\x02\0\0\0\0\0\0\0{}"
"""A whole safetensors file."""


def folder(path: Path, weights: str, **config: Any) -> Path:
    (path / weights).parent.mkdir(parents=True, exist_ok=True)
    (path / weights).write_bytes(NO_TENSORS)
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_gguf(tmp_path: Path, llama: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(llama)
    found = describe(tmp_path)
    assert (found.format, found.architecture, found.context, found.engines) == ("gguf", "llama", 8192, ("cpu",))


def test_gguf_that_the_engine_does_not_read(tmp_path: Path, make_gguf: GgufMaker) -> None:
    (tmp_path / "m.gguf").write_bytes(make_gguf({"general.architecture": "mamba"}))
    assert describe(tmp_path).engines == ()


def test_gguf_that_names_no_architecture(tmp_path: Path, make_gguf: GgufMaker) -> None:
    (tmp_path / "m.gguf").write_bytes(make_gguf({"general.name": "x"}))
    assert (describe(tmp_path).architecture, describe(tmp_path).engines) == ("unknown", ())


def test_gguf_that_is_cut_off(tmp_path: Path, llama: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(llama[:-1])
    with pytest.raises(ModelError, match=r"m\.gguf is not a whole GGUF file .*: delete .* and pull the model again"):
        describe(tmp_path)


@pytest.mark.parametrize(
    ("weights", "architecture", "kind", "engines"),
    [
        ("model.safetensors", "LlamaForCausalLM", "llama", ("vllm", "trt")),
        ("model-00001-of-00002.safetensors", "LlamaForCausalLM", "llama", ("vllm", "trt")),
        ("pytorch_model.bin", "LlamaForCausalLM", "llama", ("vllm", "trt")),
        ("openvino_model.xml", "LlamaForCausalLM", "llama", ("cpu",)),
        ("openvino_model.xml", "BertModel", "bert", ("bert",)),
        ("model.safetensors", "BertModel", "bert", ("bert",)),
        ("onnx/model.onnx", "BertModel", "bert", ("bert",)),
        ("pytorch_model.bin", "BertModel", "bert", ()),
        ("model.safetensors", "RobertaModel", "roberta", ("bert",)),
        ("model.safetensors", "DebertaModel", "deberta-v2", ()),
        ("model.onnx", "LlamaForCausalLM", "llama", ()),
    ],
)
def test_engines(tmp_path: Path, weights: str, architecture: str, kind: str, engines: tuple[str, ...]) -> None:
    found = describe(folder(tmp_path, weights, architectures=[architecture], model_type=kind))
    assert (found.architecture, found.engines) == (architecture, engines)


def test_context_comes_from_the_config(tmp_path: Path) -> None:
    assert describe(folder(tmp_path, "model.safetensors", max_position_embeddings=512)).context == 512


def test_config_without_architecture(tmp_path: Path) -> None:
    found = describe(folder(tmp_path, "model.safetensors", architectures=None))
    assert (found.architecture, found.context, found.engines) == ("unknown", None, ())


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no model: expected a \.gguf file"):
        describe(tmp_path)


def test_weights_without_config(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        describe(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_config_that_is_not_json(tmp_path: Path, text: str) -> None:
    folder(tmp_path, "model.safetensors")
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        describe(tmp_path)

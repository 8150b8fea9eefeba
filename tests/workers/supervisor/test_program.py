"""What is refused before an engine is even started, and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.errors import ConfigError, ModelError
from headrace.workers.supervisor.program import check_model, find_program

WHOLE = b"\x02\0\0\0\0\0\0\0{}"


def folder(path: Path, weights: str, data: bytes, architecture: str) -> Path:
    (path / weights).write_bytes(data)
    (path / "config.json").write_text(json.dumps({"architectures": [architecture], "max_position_embeddings": 2048}))
    return path


def test_a_folder_of_safetensors_is_served(tmp_path: Path) -> None:
    found = check_model(folder(tmp_path, "model.safetensors", WHOLE, "LlamaForCausalLM"), "vllm")
    assert (found.format, found.context) == ("safetensors", 2048)


def test_a_built_engine_is_served_by_tensorrt_alone(tmp_path: Path) -> None:
    (tmp_path / "rank0.engine").write_bytes(b"engine")
    config = {"pretrained_config": {"architecture": "LlamaForCausalLM"}, "build_config": {"max_seq_len": 4096}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = check_model(tmp_path, "trt")
    assert (found.format, found.architecture, found.context) == ("tensorrt", "LlamaForCausalLM", 4096)
    with pytest.raises(ModelError, match="serve it with `headrace worker trt`"):
        check_model(tmp_path, "vllm")


@pytest.mark.parametrize(
    ("weights", "data", "architecture", "told"),
    [
        ("model.safetensors", WHOLE[:-1], "LlamaForCausalLM", "head is cut off.*get the model again"),
        ("model.onnx", b"onnx", "LlamaForCausalLM", "no engine here generates text from onnx: pull"),
        ("model.safetensors", WHOLE, "ViTForImageClassification", "no engine here serves ViTForImageClassification"),
        ("openvino_model.xml", b"<net/>", "LlamaForCausalLM", "serve it with `headrace worker cpu`"),
        ("readme.txt", b"", "LlamaForCausalLM", "holds no model: expected"),
    ],
)
def test_what_it_cannot_serve_is_told_with_what_to_do(
    tmp_path: Path, weights: str, data: bytes, architecture: str, told: str
) -> None:
    with pytest.raises(ModelError, match=told):
        check_model(folder(tmp_path, weights, data, architecture), "vllm")


def test_a_gguf_is_for_the_cpu(tmp_path: Path, model_folder: Path) -> None:
    with pytest.raises(ModelError, match="serve it with `headrace worker cpu`"):
        check_model(model_folder, "vllm")


def test_no_folder_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model folder"):
        check_model(tmp_path / "absent", "vllm")
    with pytest.raises(ModelError, match="holds no model"):
        check_model(tmp_path, "vllm")


def test_a_pulled_folder_that_lacks_a_file_names_the_pull(tmp_path: Path) -> None:
    folder(tmp_path, "model.safetensors", WHOLE, "LlamaForCausalLM")
    file = {"path": "tokenizer.json", "size": 3, "sha256": "0" * 64}
    manifest = {"pull": "org/m", "source": "", "revision": "1", "license": None, "architecture": None, "context": None}
    (tmp_path / "headrace.json").write_text(json.dumps({**manifest, "files": [file]}))
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing or cut off.*headrace models pull org/m"):
        check_model(tmp_path, "vllm")


def test_the_program_is_found_on_the_path_or_named(tmp_path: Path) -> None:
    program = tmp_path / "vllm"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_program(None, "vllm", str(tmp_path), "vllm") == str(program)
    assert find_program(program, "vllm", "", "vllm") == str(program)


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no vllm on the PATH.*vllm\.executable"):
        find_program(None, "vllm", str(tmp_path), "vllm")
    with pytest.raises(ConfigError, match="must be the absolute path of a program"):
        find_program(tmp_path / "vllm", "vllm", "", "vllm")

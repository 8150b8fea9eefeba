from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import ModelError
from headrace.models.manifest import File, Manifest
from headrace.workers.cpu.model import Model, find

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 2048,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 512,
}


def openvino(folder: Path, **changes: Any) -> Path:
    (folder / "openvino_model.xml").write_text("<net/>")
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_openvino_folder(tmp_path: Path) -> None:
    model = find(openvino(tmp_path))
    assert model == Model(str(tmp_path), 2048, 2 * 4 * 2 * 64)


def test_heads_without_groups_and_a_size_of_their_own(tmp_path: Path) -> None:
    model = find(openvino(tmp_path, num_key_value_heads=None, head_dim=32))
    assert model.kv_values == 2 * 4 * 8 * 32


def test_real_gguf(model_folder: Path) -> None:
    model = find(model_folder)
    assert model.path.endswith(".gguf")
    assert (model.context, model.kv_values) == (8192, 2 * 30 * 3 * 64)


def test_missing_folder_says_how_to_get_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model folder .*nowhere: get it with `headrace models pull demo`"):
        find(tmp_path / "nowhere")


def test_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        find(tmp_path)


def test_two_ggufs_are_ambiguous(tmp_path: Path, model_folder: Path) -> None:
    (source,) = model_folder.glob("*.gguf")
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).symlink_to(source)
    with pytest.raises(ModelError, match=r"holds 2 \.gguf files"):
        find(tmp_path)


def test_cut_gguf(tmp_path: Path, model_folder: Path) -> None:
    (source,) = model_folder.glob("*.gguf")
    with source.open("rb") as whole:
        (tmp_path / "model.gguf").write_bytes(whole.read(8_000_000))
    with pytest.raises(ModelError, match=r"model\.gguf is not a whole GGUF file .* pull the model again"):
        find(tmp_path)


def test_file_that_its_manifest_has_and_the_folder_has_not(tmp_path: Path) -> None:
    files = (File("weights.gguf", 10, "0" * 64),)
    Manifest(pull="demo", source="", revision="1", license=None, architecture=None, context=None, files=files).write(
        tmp_path
    )
    with pytest.raises(ModelError, match=r"weights\.gguf is missing or cut off: .*`headrace models pull demo`"):
        find(tmp_path)


def test_model_that_generates_no_text(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="OpenVINO GenAI does not generate text with"):
        find(openvino(tmp_path, architectures=["BertModel"]))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_position_embeddings": None}, "does not tell the model's context length"),
        ({"max_position_embeddings": 0}, "does not tell the model's context length"),
        ({"num_hidden_layers": None}, "does not tell the sizes of the model's attention"),
        ({"num_attention_heads": None, "num_key_value_heads": None}, "does not tell the sizes"),
    ],
)
def test_config_that_lacks_something(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        find(openvino(tmp_path, **changes))


def test_kv_blocks_fill_the_memory() -> None:
    model = Model("m", 2048, 1024)
    assert model.kv_blocks(10 * 32 * 1024 * 4, "f32") == 10
    assert model.kv_blocks(10 * 32 * 1024 * 4, "bf16") == 20


def test_memory_for_less_than_two_blocks_is_refused() -> None:
    with pytest.raises(ModelError, match="raise kv_cache_mib"):
        Model("m", 2048, 1024).kv_blocks(32 * 1024 * 4, "f32")

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.errors import ModelError
from headrace.models.weights import check_safetensors


def safetensors(size: int = 8) -> bytes:
    """A file with one tensor of ``size`` bytes."""
    head = json.dumps(
        {"__metadata__": {"format": "pt"}, "w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    ).encode()
    return len(head).to_bytes(8, "little") + head + bytes(size)


def sharded(folder: Path) -> None:
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name in names:
        (folder / name).write_bytes(safetensors())
    index = {"metadata": {}, "weight_map": {"a": names[0], "b": names[1], "c": names[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_whole_files_pass(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(safetensors())
    check_safetensors(tmp_path)


def test_whole_shards_pass(tmp_path: Path) -> None:
    sharded(tmp_path)
    check_safetensors(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    sharded(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors is missing.*get the model again"):
        check_safetensors(tmp_path)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "has no head"),
        (safetensors()[:20], "its head is cut off"),
        (safetensors()[:-3], r"has \d+ bytes, but its tensors need \d+"),
        (safetensors() + b"more", "but its tensors need"),
        (b"\x04\0\0\0\0\0\0\0nope", "is not a whole safetensors file"),
        (b"\x09\0\0\0\0\0\0\0" + b'{"w":{}}\x20', "is not a whole safetensors file"),
        (b"\xff" * 64, "has no head"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match=told):
        check_safetensors(tmp_path)


def test_an_index_that_is_no_index_is_refused(tmp_path: Path) -> None:
    sharded(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{")
    with pytest.raises(ModelError, match=r"index\.json cannot be read"):
        check_safetensors(tmp_path)


def test_names_in_an_index_do_not_lead_elsewhere(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "../../etc/passwd"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"passwd is missing") as refused:
        check_safetensors(tmp_path)
    assert str(tmp_path / "passwd") in str(refused.value)

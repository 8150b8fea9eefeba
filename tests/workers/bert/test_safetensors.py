from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.errors import ModelError
from headrace.workers.bert.safetensors import Weights
from tests.workers.bert.harness import write_json, write_tensors

VALUES = np.array([[1.0, -2.5], [0.0, 1024.0]], np.float32)


def file(folder: Path) -> Path:
    return folder / "model.safetensors"


def write_header(path: Path, header: object, data: bytes = b"") -> None:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)


def test_floats_of_every_kind_become_float32(tmp_path: Path) -> None:
    upper_half = (VALUES.view(np.uint32) >> 16).astype(np.uint16)
    tensors: dict[str, NDArray[Any]] = {"single": VALUES, "half": VALUES.astype(np.float16), "brain": upper_half}
    write_tensors(file(tmp_path), tensors, {"brain": "BF16"})
    weights = Weights(tmp_path)
    assert sorted(weights) == ["brain", "half", "single"]
    for tensor in weights.values():
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, VALUES)


def test_integers_are_left_out(tmp_path: Path) -> None:
    write_tensors(file(tmp_path), {"positions": np.arange(4), "weight": VALUES})
    assert list(Weights(tmp_path)) == ["weight"]


def test_a_checkpoint_of_several_files_is_one(tmp_path: Path) -> None:
    write_tensors(tmp_path / "model-1.safetensors", {"a": VALUES})
    write_tensors(tmp_path / "model-2.safetensors", {"b": VALUES * 2})
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    write_json(tmp_path / "model.safetensors.index.json", index)
    np.testing.assert_array_equal(Weights(tmp_path)["b"], VALUES * 2)


def test_an_index_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "model"
    write_json(inside / "model.safetensors.index.json", {"weight_map": {"a": "../secret.safetensors"}})
    write_tensors(tmp_path / "secret.safetensors", {"a": VALUES})
    with pytest.raises(ModelError, match=r"model/secret.safetensors: cannot be read"):
        Weights(inside)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model.safetensors: is missing.*pull the model again"):
        Weights(tmp_path)


def test_a_broken_index_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": 1})
    with pytest.raises(ModelError, match=r"index.json: cannot be used"):
        Weights(tmp_path)


@pytest.mark.parametrize("keep", [4, 20])
def test_a_file_cut_in_its_header_is_refused(tmp_path: Path, keep: int) -> None:
    write_tensors(file(tmp_path), {"a": VALUES})
    file(tmp_path).write_bytes(file(tmp_path).read_bytes()[:keep])
    with pytest.raises(ModelError, match="is not a safetensors file, or is cut short"):
        Weights(tmp_path)


def test_a_file_cut_in_its_data_is_refused(tmp_path: Path) -> None:
    write_tensors(file(tmp_path), {"a": VALUES})
    file(tmp_path).write_bytes(file(tmp_path).read_bytes()[:-1])
    with pytest.raises(ModelError, match="is cut short: a ends at byte 16 of 15"):
        Weights(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    file(tmp_path).touch()
    with pytest.raises(ModelError, match="cannot be read"):
        Weights(tmp_path)


def test_a_header_that_is_not_json_is_refused(tmp_path: Path) -> None:
    write_header(file(tmp_path), b"{nonsense}")
    with pytest.raises(ModelError, match="has a broken header"):
        Weights(tmp_path)


@pytest.mark.parametrize("offsets", [[0, 8], [8, 0], [-16, 0]])
def test_offsets_that_do_not_fit_the_shape_are_refused(tmp_path: Path, offsets: list[int]) -> None:
    write_header(file(tmp_path), {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": offsets}}, b"\0" * 64)
    with pytest.raises(ModelError, match="where its shape needs 16"):
        Weights(tmp_path)

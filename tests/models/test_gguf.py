from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.errors import ModelError
from headrace.models.gguf import read_head

if TYPE_CHECKING:
    from tests.models.conftest import GgufMaker


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def test_reads_architecture_and_context(path: Path, llama: bytes) -> None:
    path.write_bytes(llama)
    assert read_head(path) == ("llama", 8192)


def test_passes_over_arrays(path: Path, make_gguf: GgufMaker) -> None:
    head = {
        "tokenizer.ggml.tokens": ["a", "水", ""],
        "tokenizer.ggml.token_type": [1, 2, 3],
        "general.architecture": "qwen2",
        "qwen2.context_length": 32768,
    }
    path.write_bytes(make_gguf(head))
    assert read_head(path) == ("qwen2", 32768)


def test_context_may_be_absent(path: Path, make_gguf: GgufMaker) -> None:
    path.write_bytes(make_gguf({"general.architecture": "bert"}))
    assert read_head(path) == ("bert", None)


def test_refuses_a_file_that_is_cut_off(path: Path, llama: bytes) -> None:
    for length in range(4, len(llama)):
        path.write_bytes(llama[:length])
        with pytest.raises(ModelError, match="cut off or damaged"):
            read_head(path)


def test_refuses_a_length_beyond_the_file(path: Path, llama: bytes) -> None:
    path.write_bytes(llama[:24] + b"\xff" * 7 + b"\x7f" + llama[32:])
    with pytest.raises(ModelError, match="cut off or damaged"):
        read_head(path)


def test_refuses_an_array_without_end(path: Path, make_gguf: GgufMaker) -> None:
    endless = b"\x01" + b"\0" * 7 + b"a" + (9).to_bytes(4, "little") + (8).to_bytes(4, "little") + b"\xff" * 8
    path.write_bytes(make_gguf({})[:16] + (1).to_bytes(8, "little") + endless)
    with pytest.raises(ModelError, match="cut off or damaged"):
        read_head(path)


def test_refuses_another_format(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(ModelError, match="is not a GGUF file"):
        read_head(path)


def test_refuses_an_unknown_version(path: Path, make_gguf: GgufMaker) -> None:
    path.write_bytes(make_gguf({"general.architecture": "llama"}, version=9))
    with pytest.raises(ModelError, match="version 9"):
        read_head(path)


def test_refuses_a_file_without_architecture(path: Path, make_gguf: GgufMaker) -> None:
    path.write_bytes(make_gguf({"general.name": "x"}))
    with pytest.raises(ModelError, match="does not name its architecture"):
        read_head(path)


def test_says_that_a_file_cannot_be_read(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ModelError, match="cannot be read"):
        read_head(path)

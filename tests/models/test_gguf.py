from __future__ import annotations

import struct
from pathlib import Path

import pytest

from headrace.errors import ModelError
from headrace.models import gguf


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def pair(key: str, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def image(*pairs: bytes, version: int = 3, elements: int = 64, data: int = 40) -> bytes:
    """A file with one Q4_1 tensor of ``elements`` numbers and ``data`` bytes of weights."""
    head = b"GGUF" + struct.pack("<IQQ", version, 1, len(pairs)) + b"".join(pairs)
    tensor = string("w") + struct.pack("<IQQIQ", 2, elements // 2, 2, 3, 0)
    return (head + tensor).ljust(-(-len(head + tensor) // 32) * 32, b"\0") + bytes(data)


PAIRS = (
    pair("general.architecture", 8, string("llama")),
    pair("tokens", 9, struct.pack("<IQ", 8, 2) + string("a") + string("bc")),
    pair("scores", 9, struct.pack("<IQ", 6, 2) + struct.pack("<ff", 1, 2)),
    pair("llama.context_length", 4, struct.pack("<I", 8192)),
    pair("llama.rope", 6, struct.pack("<f", 0.5)),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def test_reads_scalars_and_skips_arrays(path: Path) -> None:
    path.write_bytes(image(*PAIRS))
    head = gguf.read(path)
    assert head.metadata == {"general.architecture": "llama", "llama.context_length": 8192, "llama.rope": 0.5}
    assert head.number("context_length") == 8192
    assert head.number("rope") is None
    assert head.number("missing") is None


def test_every_cut_is_found(path: Path) -> None:
    whole = image(*PAIRS)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"model\.gguf is not a whole GGUF file"):
            gguf.read(path)


def test_weights_that_are_missing_are_found(path: Path) -> None:
    path.write_bytes(image(*PAIRS, elements=640))
    with pytest.raises(ModelError, match="its tensors need"):
        gguf.read(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04 something else", "does not begin with GGUF"),
        (image(*PAIRS, version=1), "version 1 is not known"),
        (image(pair("a", 77, b"")), "value type 77 is not known"),
        (image(pair("a", 9, struct.pack("<IQ", 9, 1))), "value type 9 is not known"),
        (image(pair("a", 8, struct.pack("<Q", 2**63))), "it is cut off"),
        (image(pair("general.alignment", 4, struct.pack("<I", 0))), "its alignment is not a number"),
    ],
)
def test_damage_is_named(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        gguf.read(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        gguf.read(tmp_path / "missing.gguf")

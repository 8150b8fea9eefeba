"""The head of a GGUF file: what the model is, without loading it.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little endian.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from headrace.errors import ModelError

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}

Value = str | int | float | bool | None


def read_head(path: Path) -> tuple[str, int | None]:
    """Architecture (``llama``) and context length in tokens, None where the file does not tell it."""
    try:
        with path.open("rb") as stream:
            return _Head(stream, path).read()
    except (struct.error, UnicodeDecodeError):
        raise ModelError(f"{path} is cut off or damaged: delete its folder and pull the model again") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None


class _Head:
    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._size = os.fstat(stream.fileno()).st_size

    def read(self) -> tuple[str, int | None]:
        if self._stream.read(4) != b"GGUF":
            raise ModelError(f"{self._path} is not a GGUF file; delete its folder and pull the model again")
        version, _tensors, pairs = self._take("<IQQ")
        if version not in (2, 3):
            raise ModelError(f"{self._path} has GGUF version {version}; versions 2 and 3 can be read")
        architecture, context = None, None
        for _ in range(pairs):
            key = self._string()
            value = self._value(*self._take("<I"))
            if key == "general.architecture":
                architecture = str(value)
            elif key.endswith(".context_length") and isinstance(value, int):
                context = value
            if architecture is not None and context is not None:
                break
        if architecture is None:
            raise ModelError(f"{self._path} does not name its architecture, so no engine can load it")
        return architecture, context

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            self._skip_array()
            return None
        if kind not in _SCALARS:
            raise struct.error(f"unknown value type {kind}")
        value: Value = self._take(_SCALARS[kind])[0]
        return value

    def _skip_array(self) -> None:
        kind, length = self._take("<IQ")
        if kind in _SCALARS:
            self._stream.seek(length * struct.calcsize(_SCALARS[kind]), os.SEEK_CUR)
            return
        for _ in range(length):
            self._value(kind)

    def _string(self) -> str:
        (length,) = self._take("<Q")
        return self._bytes(length).decode()

    def _take(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self._bytes(struct.calcsize(layout)))

    def _bytes(self, length: int) -> bytes:
        if length > self._size:  # a damaged length must not become an allocation
            raise struct.error("longer than the file")
        return self._stream.read(length)

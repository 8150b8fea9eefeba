"""A GGUF file's own description, and whether the file is whole.

OpenVINO trusts the file: one that is cut off ends its process with a segmentation fault. So the head is read here
first, with every length checked. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

from headrace.errors import ModelError

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9

_BLOCKS = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    30: (1, 2),  # BF16
}
"""ggml's tensor types: elements and bytes a block. Others are left for the engine to judge."""

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class Gguf:
    """``metadata`` has every value that is not an array."""

    metadata: dict[str, Scalar]

    def number(self, name: str) -> int | None:
        """The architecture's own key, such as ``context_length``."""
        value = self.metadata.get(f"{self.metadata.get('general.architecture')}.{name}")
        return value if isinstance(value, int) else None


def read(path: Path) -> Gguf:
    """Read the head. Raises ModelError where the file is not whole."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return _Reader(view).read()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, struct.error) as error:
        raise ModelError(f"{path} is not a whole GGUF file ({error})") from None


class _Reader:
    """A cursor over the file; raises ValueError or struct.error where it does not hold what it should."""

    def __init__(self, view: mmap.mmap) -> None:
        self._view = view
        self._at = 0

    def read(self) -> Gguf:
        if self._view[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        self._at = 4
        (version,) = self._take("<I")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not known")
        tensors, pairs = self._take("<QQ")
        metadata: dict[str, Scalar] = {}
        for _ in range(pairs):
            key = self._string()
            (kind,) = self._take("<I")
            value = self._value(kind)
            if value is not None:
                metadata[key] = value
        self._check_tensors(tensors, metadata)
        return Gguf(metadata)

    def _check_tensors(self, count: int, metadata: dict[str, Scalar]) -> None:
        end = 0
        for _ in range(count):
            self._string()
            (dimensions,) = self._take("<I")
            shape = self._take(f"<{dimensions}Q")
            kind, offset = self._take("<IQ")
            elements, size = _BLOCKS.get(kind, (1, 0))
            end = max(end, offset + prod(shape) // elements * size)
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError("its alignment is not a number")
        data = -(-self._at // alignment) * alignment
        if data + end > len(self._view):
            raise ValueError(f"it has {len(self._view)} bytes, but its tensors need {data + end}")

    def _value(self, kind: int) -> Scalar | None:
        """A scalar; None for an array, which is skipped."""
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            value: Scalar = self._take(_SCALARS[kind])[0] if kind in _SCALARS else self._unknown(kind)
            return value
        inner, length = self._take("<IQ")
        if inner in _SCALARS:
            self._skip(length * struct.calcsize(_SCALARS[inner]))
        elif inner == _STRING:
            for _ in range(length):
                self._skip(self._take("<Q")[0])
        else:
            self._unknown(inner)
        return None

    def _unknown(self, kind: int) -> int:
        raise ValueError(f"value type {kind} is not known")

    def _string(self) -> str:
        (length,) = self._take("<Q")
        start = self._at
        self._skip(length)
        return self._view[start : self._at].decode()

    def _skip(self, length: int) -> None:
        if self._at + length > len(self._view):
            raise ValueError("it is cut off")
        self._at += length

    def _take(self, layout: str) -> tuple[int, ...]:
        start = self._at
        self._skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self._view, start)

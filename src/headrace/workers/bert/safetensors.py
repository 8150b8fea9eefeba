"""Reads weights in the safetensors format, without copying them.

Format: 8 bytes little-endian length of a JSON header, the header (name → dtype, shape, data_offsets), then the data;
https://huggingface.co/docs/safetensors. A checkpoint of several files has ``model.safetensors.index.json``, whose
``weight_map`` says which file holds which tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.errors import ModelError

_MAX_HEADER = 100_000_000
"""The bound that the reference implementation sets."""
_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_AGAIN = "pull the model again"


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


class Weights(Mapping[str, NDArray[np.float32]]):
    """The tensors of a folder by name, as float32. Tensors of other dtypes than floats are left out."""

    def __init__(self, folder: Path) -> None:
        """Reads the headers. Raises ModelError where a file is missing, cut or not of this format."""
        self._tensors: dict[str, tuple[_Entry, NDArray[np.uint8]]] = {}
        for path in _files(folder):
            self._tensors.update(_read(path))

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        entry, data = self._tensors[name]
        values = data[slice(*entry.data_offsets)].view(_DTYPES[entry.dtype]).reshape(entry.shape)
        if entry.dtype == "BF16":  # the upper half of a float32
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise ModelError(f"{single}: is missing; bert-worker reads safetensors weights; {_AGAIN}")
    try:
        names = set(msgspec.json.decode(index.read_bytes(), type=_Index).weight_map.values())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{index}: cannot be used: {error}; {_AGAIN}") from None
    return [folder / Path(name).name for name in sorted(names)]


def _read(path: Path) -> dict[str, tuple[_Entry, NDArray[np.uint8]]]:
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}; {_AGAIN}") from None
    size = int.from_bytes(raw[:8].tobytes(), "little")
    if not 2 <= size <= min(_MAX_HEADER, raw.size - 8):
        raise ModelError(f"{path}: is not a safetensors file, or is cut short; {_AGAIN}")
    try:
        header = msgspec.json.decode(raw[8 : 8 + size].tobytes(), type=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        entries = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in header.items()}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: has a broken header: {error}; {_AGAIN}") from None
    data: NDArray[np.uint8] = raw[8 + size :]
    floats = {name: entry for name, entry in entries.items() if entry.dtype in _DTYPES}
    for name, entry in floats.items():
        _check(path, name, entry, data.size)
    return {name: (entry, data) for name, entry in floats.items()}


def _check(path: Path, name: str, entry: _Entry, available: int) -> None:
    begin, end = entry.data_offsets
    if end > available:
        raise ModelError(f"{path}: is cut short: {name} ends at byte {end} of {available}; {_AGAIN}")
    wanted = prod(entry.shape) * np.dtype(_DTYPES[entry.dtype]).itemsize
    if not 0 <= begin <= end or end - begin != wanted or min(entry.shape, default=0) < 0:
        raise ModelError(f"{path}: {name} has {end - begin} bytes where its shape needs {wanted}; {_AGAIN}")

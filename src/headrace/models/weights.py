"""Whether weight files are whole, as far as their heads tell: cheap, and enough for what was cut off or left out.

safetensors: eight bytes of length (little-endian), a JSON head with the place of every tensor, then the tensors.
https://huggingface.co/docs/safetensors, "Format".
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from headrace.errors import ModelError

_INDEX = "model.safetensors.index.json"
_LONGEST_HEAD = 100_000_000
"""Bytes; the format's own bound."""


class _Tensor(msgspec.Struct):
    data_offsets: tuple[int, int]


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def check_safetensors(folder: Path) -> None:
    """Raises ModelError, which names the file that is cut off or missing."""
    shards = _shards(folder)
    for path in shards or sorted(folder.glob("*.safetensors")):
        if not path.is_file():
            raise ModelError(f"{path} is missing, but {_INDEX} names it: {_fix(folder)}")
        try:
            need = _size(path)
        except (ValueError, msgspec.MsgspecError) as error:
            raise ModelError(f"{path} is not a whole safetensors file ({error}): {_fix(folder)}") from None
        size = path.stat().st_size
        if size != need:
            raise ModelError(f"{path} has {size} bytes, but its tensors need {need}: {_fix(folder)}")


def _shards(folder: Path) -> list[Path]:
    """The files that the index names; none where there is no index."""
    index = folder / _INDEX
    try:
        names = set(msgspec.json.decode(index.read_bytes(), type=_Index).weight_map.values())
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise ModelError(f"{index} cannot be read ({error}): {_fix(folder)}") from None
    return sorted(folder / Path(name).name for name in names)


def _size(path: Path) -> int:
    """Bytes of the whole file, by its head. Raises ValueError or MsgspecError where the head makes no sense."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _LONGEST_HEAD:
            raise ValueError("it has no head")
        head = file.read(length)
    if len(head) < length:
        raise ValueError("its head is cut off")
    tensors = msgspec.json.decode(head, type=dict[str, msgspec.Raw])
    ends = (msgspec.json.decode(raw, type=_Tensor).data_offsets[1] for name, raw in tensors.items() if name[:2] != "__")
    return 8 + length + max(ends, default=0)


def _fix(folder: Path) -> str:
    return f"delete {folder} and get the model again"

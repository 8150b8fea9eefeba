"""Reads the JSON files of a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from headrace.errors import ModelError

FETCH = "pull the model again, or copy the file from where the folder came from"

T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T:
    """Raises ModelError, which names the file and what is wrong."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be used: {error}; {FETCH}") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None


def read_optional(path: Path, kind: type[T]) -> T | None:
    """As ``read_json``, but None where there is no such file."""
    return read_json(path, kind) if path.is_file() else None


def convert(path: Path, document: Any, kind: type[T]) -> T:
    """A typed view of what was read from ``path``. Raises ModelError."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise ModelError(f"{path}: cannot be used: {error}; {FETCH}") from None

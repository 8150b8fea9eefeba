from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.errors import ConfigError
from headrace.store.spool import Spool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Iterator[Spool]:
    spool = Spool(folder, limit=1000)
    yield spool
    spool.close()


def left(folder: Path) -> list[bytes]:
    """What the next process finds."""
    lines: list[bytes] = []
    spool = Spool(folder, limit=1000)
    for segment in spool.adopt():
        lines += segment.lines()
        segment.remove()
    spool.close()
    return lines


def test_lines_come_back_in_their_order(spool: Spool) -> None:
    spool.append(b"one\n")
    spool.append(b"two\n")
    assert list(spool.swap(spool.prepare()).lines()) == [b"one", b"two"]


def test_a_segment_that_a_process_holds_is_left_alone(spool: Spool, folder: Path) -> None:
    spool.append(b"mine\n")
    assert left(folder) == []
    complete = spool.swap(spool.prepare())
    assert left(folder) == []
    complete.close()
    assert left(folder) == [b"mine"]


def test_what_waits_at_the_end_is_found_by_the_next_process(folder: Path) -> None:
    spool = Spool(folder, limit=1000)
    spool.append(b"one\n")
    spool.close()
    assert left(folder) == [b"one"]
    assert list(folder.iterdir()) == []


def test_lines_survive_a_kill(folder: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from headrace.store.spool import Spool
spool = Spool(Path({str(folder)!r}), limit=1000)
spool.append(b"one\\n"); spool.append(b"two\\n")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert left(folder) == [b"one", b"two"]


def test_a_line_that_is_not_whole_is_none(spool: Spool, folder: Path) -> None:
    spool.append(b"whole\n")
    os.write(spool.active.descriptor, b"torn")
    spool.close()
    assert left(folder) == [b"whole"]
    spool.swap(spool.prepare())  # for the fixture, which closes it again


def test_a_full_spool_takes_nothing_more_and_counts(spool: Spool) -> None:
    for _ in range(11):
        spool.append(b"x" * 99 + b"\n")
    assert (spool.size, spool.dropped) == (1000, 1)


def test_what_other_processes_left_counts(folder: Path, spool: Spool) -> None:
    other = Spool(folder, limit=1000)
    other.append(b"x" * 899 + b"\n")
    spool.append(b"x" * 99 + b"\n")
    assert spool.dropped == 0
    spool.measure()
    spool.append(b"x\n")
    assert (spool.size, spool.dropped) == (1000, 1)
    other.close()


def test_a_line_that_the_disk_took_half_of_is_taken_back(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    spool.append(b"one\n")
    monkeypatch.setattr("headrace.store.spool.os.write", lambda descriptor, data: write(descriptor, data[:2]))
    spool.append(b"two\n")
    monkeypatch.undo()
    spool.append(b"three\n")
    assert spool.dropped == 1
    assert list(spool.swap(spool.prepare()).lines()) == [b"one", b"three"]


def test_of_several_lines_the_whole_ones_are_kept(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr("headrace.store.spool.os.write", lambda descriptor, data: write(descriptor, data[:6]))
    spool.append(b"one\ntwo\nthree\n")
    monkeypatch.undo()
    spool.append(b"four\n")
    assert (spool.size, spool.dropped) == (9, 2)
    assert list(spool.swap(spool.prepare()).lines()) == [b"one", b"four"]


def test_a_disk_that_fails_costs_a_line_and_no_more(spool: Spool) -> None:
    active = spool.active
    descriptor, active.descriptor = active.descriptor, os.open("/dev/full", os.O_WRONLY)
    spool.append(b"one\n")
    os.close(active.descriptor)
    active.descriptor = descriptor
    spool.append(b"two\n")
    assert spool.dropped == 1
    assert list(spool.swap(spool.prepare()).lines()) == [b"two"]


def test_a_folder_that_cannot_be_used_is_told() -> None:
    with pytest.raises(ConfigError, match="spool: /proc/nowhere: cannot be written to"):
        Spool(Path("/proc/nowhere"), limit=1000)

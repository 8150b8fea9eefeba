from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from scripts.setup import preflight
from scripts.setup.errors import SetupError
from scripts.setup.preflight import DISK, MEMORY, Machine

GOOD = Machine("linux", "x86_64", (2, 35), DISK, MEMORY)


@pytest.mark.parametrize(
    "machine",
    [
        GOOD,
        replace(GOOD, processor="aarch64"),
        replace(GOOD, system="darwin", processor="arm64", glibc=(0, 0)),
    ],
)
def test_machines_that_fit(machine: Machine, tmp_path: Path) -> None:
    preflight.check(machine, tmp_path)  # raises nothing
    assert (machine.disk, machine.memory) == (DISK, MEMORY)


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (replace(GOOD, system="darwin"), "no packages of the engines for darwin on x86_64"),
        (replace(GOOD, processor="riscv64"), "for linux on riscv64: use Linux on x86-64 or arm64"),
        (replace(GOOD, glibc=(0, 0)), r"need glibc 2\.28 or newer, and here is another C library: use Debian 12"),
        (replace(GOOD, glibc=(2, 9)), r"need glibc 2\.28 or newer, and here is glibc 2\.9"),
        (replace(GOOD, processor="aarch64", glibc=(2, 31)), r"need glibc 2\.35 or newer, and here is glibc 2\.31"),
        (replace(GOOD, disk=DISK - 1), r"2\.0 GB of disk are needed at .*: free some space"),
        (replace(GOOD, memory=1_500_000_000), r"of memory are needed, and 1\.5 GB are available"),
    ],
)
def test_machines_that_do_not(machine: Machine, message: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=message):
        preflight.check(machine, tmp_path)


def test_looks_at_this_machine(tmp_path: Path) -> None:
    machine = preflight.look(tmp_path)
    assert machine.disk > 0
    assert machine.memory > 0


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [("glibc", "2.36", (2, 36)), ("glibc", "2.36.9000", (2, 36)), ("musl", "1.2", (0, 0)), ("", "", (0, 0))],
)
def test_glibc_version(name: str, version: str, expected: tuple[int, int]) -> None:
    assert preflight.glibc_version(name, version) == expected


def test_available_memory_is_not_the_free_one(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 100 kB\nMemFree: 5 kB\nMemAvailable: 50 kB\n")
    assert preflight.available_memory(meminfo, tmp_path) == 50 * 1024


@pytest.mark.parametrize(("limit", "expected"), [("1024\n", 1024), ("max\n", 50 * 1024)])
def test_container_limit_counts(tmp_path: Path, limit: str, expected: int) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable: 50 kB\n")
    (tmp_path / "memory.max").write_text(limit)
    assert preflight.available_memory(meminfo, tmp_path) == expected


def test_system_without_meminfo(tmp_path: Path) -> None:
    assert preflight.available_memory(tmp_path / "none", tmp_path) > 1_000_000

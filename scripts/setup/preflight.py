"""Can this machine take it? Asked before anything is fetched."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.setup.errors import SetupError

DISK = 2_000_000_000
"""Free bytes: the environment, the models and what is unpacked on the way."""
MEMORY = 3_000_000_000
"""Available bytes: both engines with their models, and the services."""

_GLIBC = {("linux", "x86_64"): (2, 28), ("linux", "aarch64"): (2, 35), ("darwin", "arm64"): (0, 0)}
"""The least glibc that the engine's packages are built for."""
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Machine:
    """What was found. ``disk`` and ``memory`` are free bytes; ``glibc`` is (0, 0) where there is another C library."""

    system: str
    processor: str
    glibc: tuple[int, int]
    disk: int
    memory: int


def look(root: Path) -> Machine:
    """This machine, and the disk that ``root`` is on."""
    return Machine(
        sys.platform,
        platform.machine().lower(),
        glibc_version(*platform.libc_ver()),
        shutil.disk_usage(root).free,
        available_memory(),
    )


def check(machine: Machine, root: Path) -> None:
    """Raises SetupError, which names what is missing."""
    least = _GLIBC.get((machine.system, machine.processor))
    if least is None:
        raise SetupError(
            f"there are no packages of the engines for {machine.system} on {machine.processor}: "
            "use Linux on x86-64 or arm64, or a Mac with Apple silicon"
        )
    if machine.glibc < least:
        here = f"glibc {_dotted(machine.glibc)}" if any(machine.glibc) else "another C library"
        raise SetupError(
            f"the engines' packages need glibc {_dotted(least)} or newer, and here is {here}: "
            "use Debian 12, Ubuntu 22.04, Fedora 36, or anything newer than these"
        )
    if machine.disk < DISK:
        raise SetupError(f"{_gb(DISK)} of disk are needed at {root}, and {_gb(machine.disk)} are free: free some space")
    if machine.memory < MEMORY:
        raise SetupError(
            f"{_gb(MEMORY)} of memory are needed, and {_gb(machine.memory)} are available: "
            "close other programs, or give the container or virtual machine more"
        )


def glibc_version(name: str, version: str) -> tuple[int, int]:
    """From what ``platform.libc_ver`` tells."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return (int(numbers[1]), int(numbers[2])) if name == "glibc" and numbers else (0, 0)


def available_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Bytes that new processes can have, within the container's limit (cgroup v2); on a Mac, all there are."""
    try:
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        available = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(available, int((cgroup / "memory.max").read_text()))
    except (OSError, ValueError):  # no limit reads "max"
        return available


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"

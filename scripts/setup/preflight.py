"""Can this machine take it? Asked before anything is fetched."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.setup.errors import SetupError

DISK = 2_000_000_000
"""Free bytes: the environment, the models and what is unpacked on the way."""
MEMORY = 3_000_000_000
"""Available bytes: both engines with their models, and the services."""

_PLATFORMS = {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")}
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Machine:
    """What was found. ``disk`` and ``memory`` are free bytes; ``libc`` is empty where it does not matter."""

    system: str
    processor: str
    libc: str
    disk: int
    memory: int


def look(root: Path) -> Machine:
    """This machine, and the disk that ``root`` is on."""
    libc = platform.libc_ver()[0] if sys.platform == "linux" else ""
    return Machine(sys.platform, platform.machine().lower(), libc, shutil.disk_usage(root).free, available_memory())


def check(machine: Machine, root: Path) -> None:
    """Raises SetupError, which names what is missing."""
    if (machine.system, machine.processor) not in _PLATFORMS:
        raise SetupError(
            f"there are no packages of the engines for {machine.system} on {machine.processor}: "
            "use Linux on x86-64 or arm64, or a Mac with Apple silicon"
        )
    if machine.system == "linux" and machine.libc != "glibc":
        raise SetupError(
            "there are no packages of the engines for this C library (Alpine's musl?): "
            "use a distribution with glibc, such as Debian, Ubuntu or Fedora"
        )
    if machine.disk < DISK:
        raise SetupError(f"{_gb(DISK)} of disk are needed at {root}, and {_gb(machine.disk)} are free: free some space")
    if machine.memory < MEMORY:
        raise SetupError(
            f"{_gb(MEMORY)} of memory are needed, and {_gb(machine.memory)} are available: "
            "close other programs, or give the container or virtual machine more"
        )


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


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"

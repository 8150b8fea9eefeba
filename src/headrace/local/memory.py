"""How much memory this machine, or this container, has left."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
_MIB = 1024 * 1024


def available_mib(cgroup: Path = _CGROUP) -> int:
    """MiB that new processes can have: what the machine has, within the limit of the control group (cgroup v2)."""
    available = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        available = min(available, max(0, limit - used + _reclaimable(cgroup)))
    return available // _MIB


def _reclaimable(cgroup: Path) -> int:
    """Bytes of file cache that count as used and are given up first."""
    for line in (cgroup / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0

"""The samples in ``docs/benchmarks/``, one file a part; what was not measured anew stays, and of which run it is."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil

from benchmarks.gateway import nginx, report
from benchmarks.gateway.loadbench import ROOT
from benchmarks.report import rivals

FOLDER = ROOT / "docs" / "benchmarks"
PARTS = ("beside", "processes", "scale", "client")
Part = dict[str, Any]
"""``about``: of the machine, and what was measured by its key: a ``Measured`` each."""


def read(folder: Path = FOLDER) -> dict[str, Part]:
    """What is there, by part."""
    files = {part: folder / f"{part}.json" for part in PARTS}
    return {part: msgspec.json.decode(file.read_bytes()) for part, file in files.items() if file.exists()}


def keep(part: str, measured: Mapping[str, Any], folder: Path = FOLDER, *, afresh: bool = False) -> None:
    """Add what was measured to the part's file, or begin it ``afresh``."""
    former = {} if afresh else read(folder).get(part, {}).get("measured", {})
    data = msgspec.json.encode({"about": about(), "measured": {**former, **measured}})
    folder.mkdir(exist_ok=True)
    (folder / f"{part}.json").write_bytes(msgspec.json.format(data, indent=1) + b"\n")


def commit() -> str:
    """Of this checkout; marked where it has changes of its own in what is measured."""
    changed = _said(["git", "status", "--porcelain", "--", "src", "benchmarks"])
    return _said(["git", "rev-parse", "--short", "HEAD"]) + ("+" if changed else "")


def about() -> dict[str, str]:
    """The machine and the versions."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    memory = psutil.virtual_memory().total / (1 << 30)
    return {
        "machine": f"{os.cpu_count()} cores of {cpu.partition(': ')[2]}, {memory:.0f} GiB, {platform.release()}",
        "Python": report.python(),
        "nginx": _said([nginx.binary() or "nginx", "-v"]).rpartition("/")[2] or "none",
        "others": ", ".join(f"{name} {version}" for name, version in rivals.versions().items()),
    }


def _said(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, cwd=ROOT, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).decode(errors="replace").strip()

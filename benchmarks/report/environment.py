"""Environments of their own for what is measured beside Headrace, or measures it: hash-pinned, made once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.gateway.processes import BenchmarkError

_TIMEOUT = 900.0


def install(home: Path, lock: Path) -> None:
    """Make ``home`` from ``lock``; nothing to do where it is there. Raises BenchmarkError."""
    done = home / "lock.txt"
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return
    progress(f"installing {lock.stem} into {home.name} …")
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet", "--no-deps"]
    pip += ["--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
    for argv in ([sys.executable, "-m", "venv", "--clear", "--without-pip", str(home)], pip):
        try:
            ran = subprocess.run(argv, capture_output=True, timeout=_TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"{lock.stem} was not installed within {_TIMEOUT:g} s") from None
        if ran.returncode:
            said = ran.stderr.decode(errors="replace")[-800:].strip()
            raise BenchmarkError(f"{lock.stem} cannot be installed: {said}")
    done.write_bytes(lock.read_bytes())


def progress(text: str) -> None:
    """What is being done now, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

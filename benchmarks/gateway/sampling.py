"""Where the time goes: py-spy on each service while it is under load, ranked in microseconds."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.gateway import rounds
from benchmarks.gateway.columns import Column
from benchmarks.gateway.loadbench import ROOT
from benchmarks.gateway.processes import BenchmarkError
from benchmarks.gateway.stack import Target

_RATE = "500"
_ATTACH = 2.0
_FINISH_TIMEOUT = 120.0
_SHOWN = 25


def profile(binary: Path, target: Target, column: Column, quick: bool) -> str:
    """Load ``column`` on ``target`` once more, sampled. Raises BenchmarkError if py-spy is missing or fails.

    The sampled run costs more than an unsampled one: shares are right, the microseconds are those of this run.
    """
    executable = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if executable is None:
        raise BenchmarkError("--profile needs py-spy: pip install py-spy")
    folder = ROOT / "benchmarks" / "out"
    folder.mkdir(exist_ok=True)
    files = {service: folder / f"{column.key}-{service}.stacks" for service in target.services}
    recorders = [_record(executable, pid, files[service]) for service, pid in target.services.items()]
    try:
        time.sleep(_ATTACH)
        outcome = rounds.run(binary, target, column, quick)
    finally:
        failures = [failure for recorder in recorders if (failure := _finish(recorder))]
    if failures:
        raise BenchmarkError(f"py-spy failed: {failures[0]}")
    parts = rounds.cpu(target, outcome)
    return "\n\n".join(
        f"{column.key}, {service}: µs CPU while sampled ({file.relative_to(ROOT)})\n"
        f"{ranking(file.read_text(encoding='utf-8').splitlines(), parts[service])}"
        for service, file in files.items()
    )


def ranking(stacks: Iterable[str], microseconds: float) -> str:
    """The functions that cost most, from collapsed stacks (``outer;inner count``), ``microseconds`` in all."""
    own: Counter[str] = Counter()
    below: Counter[str] = Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        names = [frame.strip() for frame in frames.split(";")]
        own[names[-1]] += int(count)
        below.update(dict.fromkeys(set(names), int(count)))
    total = sum(own.values()) or 1
    lines = [f"  {'self':>8}{'with calls':>12}"]
    for name, samples in own.most_common(_SHOWN):
        lines.append(f"  {samples / total * microseconds:8.2f}{below[name] / total * microseconds:12.2f}  {name}")
    return "\n".join(lines)


def _record(executable: str, pid: int, file: Path) -> subprocess.Popen[bytes]:
    argv = [executable, "record", "--pid", str(pid), "--subprocesses", "--native", "--rate", _RATE]
    argv += ["--duration", "unlimited", "--format", "raw", "--output", str(file), "--function"]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _finish(recorder: subprocess.Popen[bytes]) -> str:
    """Stop sampling; what went wrong, or nothing."""
    recorder.send_signal(signal.SIGINT)  # it writes its file and ends
    try:
        _, errors = recorder.communicate(timeout=_FINISH_TIMEOUT)
    except subprocess.TimeoutExpired:
        recorder.kill()
        return "it did not end"
    return errors.decode(errors="replace").strip() if recorder.returncode else ""

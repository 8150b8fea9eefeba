"""``python -m benchmarks.gateway``; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from benchmarks.gateway import loadbench, report, rounds, sampling, stack
from benchmarks.gateway.columns import COLUMNS, select
from benchmarks.gateway.processes import BenchmarkError, Processes

_LOGS = loadbench.ROOT / "benchmarks" / "out" / "logs"


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, _leave)
    try:
        return _measure(options)
    except BenchmarkError as error:
        print(f"bench-gateway: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _measure(options: argparse.Namespace) -> int:
    if not Path("/proc/self/stat").exists():
        raise BenchmarkError("CPU per process tree is read from Linux's /proc, which is not here")
    columns = select(options.only)
    count = options.rounds or (2 if options.quick else 5)
    binary = loadbench.build()
    about: dict[str, Any] = {"rounds": count, "quick": options.quick, "processes": options.processes}
    about |= {"cores": os.cpu_count(), "load_before": os.getloadavg()[0], "python": report.python()}
    with (
        tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder,
        Processes(Path(folder)) as processes,
        processes.logs_kept(_LOGS),
    ):
        started = stack.start(processes, binary, options.processes)
        results = rounds.measure(binary, started, columns, count, options.quick, _progress)
        processes.check()
    about["load_after"] = os.getloadavg()[0]
    _print(columns, results, about)
    if options.json is not None:
        options.json.write_bytes(msgspec.json.encode(report.document(columns, results, about)))
    for column in columns if options.profile else ():
        _progress(f"profile: {column.key}")
        print(f"\n{sampling.profile(binary, column)}")
    return 0


def _print(columns: tuple[Any, ...], results: rounds.Results, about: dict[str, Any]) -> None:
    scale = f", {about['processes']} processes each" if about["processes"] > 1 else ""
    print(
        f"\nllm-api + router against one nginx hop: {about['rounds']} interleaved rounds on {about['cores']} cores"
        f"{scale}; load average {about['load_before']:.1f} before, {about['load_after']:.1f} after; {about['python']}\n"
    )
    for column in columns:
        print(report.table(column, results[column.key]), end="\n\n")
    if warning := report.noise(columns, results):
        print(warning)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--rounds", type=_positive, help="interleaved rounds (default 5; with --quick 2)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests: a smoke test, not a figure")
    parser.add_argument("--processes", type=_positive, default=1, help="processes of llm-api and of the router")
    parser.add_argument("--only", choices=[column.key for column in COLUMNS], help="one figure alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument("--profile", action="store_true", help="afterwards, rank the functions by CPU time")
    return parser.parse_args()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _leave(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())

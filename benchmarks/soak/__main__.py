"""``python -m benchmarks.soak``: what much time, or a million requests, leave behind; see docs/benchmarking.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.gateway import loadbench, stack
from benchmarks.gateway.columns import FAST_MODEL
from benchmarks.gateway.processes import BenchmarkError, Processes
from benchmarks.soak import churn
from benchmarks.soak.memory import Sample, growth, resident

ROUND = 25_000
_STREAMS = 5
"""One in so many requests is a stream."""
_TOKENS = 8
_MOST = 8.0
"""MiB that a million requests may leave behind in a service."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="at 70 %% load, with churn")
    parser.add_argument("--requests", type=int, help=f"instead: as fast as it goes, so many, a multiple of {ROUND:,}")
    parser.add_argument("--processes", type=int, default=1, help="processes of llm-api and of the router")
    options = parser.parse_args()
    try:
        if options.requests is None:
            return steady(options.minutes)
        return soak(max(4, options.requests // ROUND), options.processes)
    except BenchmarkError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1


def steady(minutes: float) -> int:
    """The exit code: 1 where something was not flat. Raises BenchmarkError where a single answer was wrong."""
    program = loadbench.build()
    with tempfile.TemporaryDirectory(prefix="headrace-soak-") as folder, Processes(Path(folder)) as processes:
        rounds = churn.run(processes, program, minutes, lambda text: print(text, flush=True))
    wrong = churn.verdict(rounds)
    print("\n".join(wrong) if wrong else "flat: memory, file descriptors and latency")
    return 1 if wrong else 0


def soak(rounds: int, process_count: int) -> int:
    """The exit code: 1 where a service grew. Raises BenchmarkError where a single answer was wrong."""
    program = loadbench.build()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="headrace-soak-") as folder, Processes(Path(folder)) as processes:
        target = stack.start(processes, program, process_count).headrace
        samples: dict[str, list[Sample]] = {service: [] for service in target.services}
        for number in range(1, rounds + 1):
            one_round(program, target)
            for service, pid in target.services.items():
                samples[service].append(Sample(number * ROUND, resident(pid)))
            told = ", ".join(f"{service} {samples[service][-1].resident:.1f} MiB" for service in samples)
            print(f"{number * ROUND:>9,} requests: {told}", flush=True)
        processes.check()
    print(f"{rounds * ROUND:,} requests in {time.monotonic() - began:.0f} s")
    slopes = {service: growth(found) for service, found in samples.items()}
    for service, slope in slopes.items():
        print(f"{service}: {slope:+.1f} MiB for a million requests (at most {_MOST:g})")
    return 1 if any(slope > _MOST for slope in slopes.values()) else 0


def one_round(program: Path, target: stack.Target) -> None:
    streams = ROUND // _STREAMS
    url, flags = target.urls[FAST_MODEL], ["-model", FAST_MODEL, "-c", "32"]
    loadbench.load(program, url, [*flags, "-n", str(ROUND - streams)], key=target.key)
    stream_flags = ["-n", str(streams), "-stream", "-check", "-tokens", str(_TOKENS)]
    loadbench.load(program, url, [*flags, *stream_flags], key=target.key)


if __name__ == "__main__":
    sys.exit(main())

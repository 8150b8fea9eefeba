"""``python -m benchmarks.gateway.sampled FILE ARGUMENTS…`` is ``headrace ARGUMENTS…``, sampled by its own CPU time.

A sampler from outside counts wall time: on a busy machine the system calls that wake the next process up look dear,
as that is where this one loses the core. A timer of the process' own CPU time does not see the waiting. The signal is
handled at the next bytecode, so C code counts for the Python function that called it, and the event loop's own work
(polling) for the callback that it calls next. Sampling begins at SIGUSR2, so that start-up is not in it.
"""

from __future__ import annotations

import atexit
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

BEGIN = signal.SIGUSR2
_INTERVAL = 0.001
"""Seconds of CPU; the kernel makes it a tick where that is longer."""


class Sampler:
    """Counts stacks, outermost function first, as ``outer;inner``."""

    def __init__(self) -> None:
        self.stacks: Counter[str] = Counter()

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0.0)

    def write(self, file: Path) -> None:
        """Collapsed stacks, a line each: what flame graph tools read."""
        lines = (f"{stack} {count}\n" for stack, count in self.stacks.items())
        file.write_text("".join(lines), encoding="utf-8")

    def _take(self, _signal: int, frame: FrameType | None) -> None:
        names = []
        while frame is not None:
            names.append(_name(frame.f_code))
            frame = frame.f_back
        self.stacks[";".join(reversed(names))] += 1


def _name(code: CodeType) -> str:
    return f"{code.co_qualname} ({'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_firstlineno})"


def main() -> None:
    file = Path(sys.argv[1])
    sampler = Sampler()

    def finish() -> None:
        sampler.stop()
        sampler.write(file)

    atexit.register(finish)
    signal.signal(BEGIN, lambda _signal, _frame: sampler.start())
    sys.argv = ["headrace", *sys.argv[2:]]
    runpy.run_module("headrace", run_name="__main__")


if __name__ == "__main__":
    main()

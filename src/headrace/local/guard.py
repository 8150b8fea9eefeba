"""Ends the children when `headrace up` is gone, even by kill -9.

The guard is one more process: `headrace up` holds the only writing end of its standard input and tells it which
process groups live (``+123``, ``-123``, a line each). End of input means that `headrace up` is no more: the guard asks
what is left to stop, then kills it. So no child has to know about its parent, whatever program it is, and a child that
is stuck in native code goes too. This file is started by path, with the standard library alone, to be small and fast.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

_GRACE = 10.0
_PROGRAM = (sys.executable, "-I", "-S", __file__)


class Guard:
    """The side of `headrace up`. Call ``close`` when every child has ended."""

    def __init__(self, keep_open: Sequence[int] = (), grace: float = _GRACE) -> None:
        """``keep_open``: file descriptors that the guard holds until its work is done, such as a lock's.

        ``grace``: seconds that orphans get between SIGTERM and SIGKILL.
        """
        self._keep_open = tuple(keep_open)
        self._grace = grace
        self._groups: set[int] = set()
        self._process = self._spawn()

    @property
    def pid(self) -> int:
        return self._process.pid

    def add(self, group: int) -> None:
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        try:
            self._write(line)
        except BrokenPipeError:
            self.close()
            self._process = self._spawn()
            self._write("".join(f"+{group}\n" for group in sorted(self._groups)))

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 (our own file)
            [*_PROGRAM, str(self._grace)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
            pass_fds=self._keep_open,
        )


def main(grace: float) -> None:
    """The side of the guard's process."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        if line.startswith("+"):
            groups.add(int(line[1:]))
        else:
            groups.discard(int(line[1:]))
    _end(groups, grace)


def _end(groups: set[int], grace: float) -> None:
    _signal(os.kill, groups, signal.SIGTERM)  # the leader alone: it tells its own children in its own way
    deadline = time.monotonic() + grace
    while groups and time.monotonic() < deadline:
        time.sleep(0.05)
        _signal(os.killpg, groups, 0)
    _signal(os.killpg, groups, signal.SIGKILL)


def _signal(send: Callable[[int, int], None], groups: set[int], number: int) -> None:
    for group in list(groups):
        try:
            send(group, number)
        except (ProcessLookupError, PermissionError):
            if send is os.killpg:  # the leader may be gone while its children live
                groups.discard(group)


if __name__ == "__main__":
    main(float(sys.argv[1]))

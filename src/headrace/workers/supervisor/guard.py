"""A process beside the engine that ends it where its parent no longer can: after kill -9, or killed for memory.

The kernel's own signal at a parent's death (``PR_SET_PDEATHSIG``) is on Linux only, reaches one process, and as SIGTERM
asks an engine that may be wedged. The guard waits for the end of a pipe that we alone hold, so it works wherever there
is a POSIX shell, and it insists. What left the engine's process group is beyond it; in a container all ends with PID 1.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

_GRACE = 10
"""Seconds between SIGTERM and SIGKILL. Nobody waits for the engine: the router takes its requests elsewhere."""

_SCRIPT = """
trap '' HUP INT TERM
read -r group || exit 0
[ "$group" != over ] || exit 0
read -r over && exit 0
kill -s TERM -- "-$group" 2>/dev/null
left=$1
while [ "$left" -gt 0 ] && kill -s 0 -- "-$group" 2>/dev/null; do
    sleep 1
    left=$((left - 1))
done
kill -s KILL -- "-$group" 2>/dev/null
"""


class Guard:
    """Started before the engine, so that there is no moment without it. Raises OSError where it cannot be."""

    def __init__(self, grace: int = _GRACE) -> None:
        reading, writing = os.pipe()
        self._writing: int | None = writing
        try:
            popen = subprocess.Popen(  # noqa: S603  the script above
                ["/bin/sh", "-c", _SCRIPT, "headrace-engine-guard", str(grace)],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # whatever is sent to our group is not for the guard
            )
        except OSError:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        popen.returncode = 0  # ``Children`` or ``reap`` waits for it; Popen must not
        self.pid = popen.pid

    def watch(self, group: int) -> None:
        """End this process group when we are gone."""
        self._tell(b"%d\n" % group)

    def close(self) -> None:
        """The engine is gone: there is nothing to guard. May be called again."""
        if self._writing is not None:
            self._tell(b"over\n")
            os.close(self._writing)
            self._writing = None

    def reap(self) -> None:
        """Wait for its end after ``close``, where no ``Children`` does. Blocks for a moment."""
        os.waitpid(self.pid, 0)

    def kill(self) -> None:
        """The engine was never there."""
        self.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _tell(self, line: bytes) -> None:
        assert self._writing is not None
        with contextlib.suppress(BrokenPipeError):  # it was killed: the kernel's signal is left
            os.write(self._writing, line)

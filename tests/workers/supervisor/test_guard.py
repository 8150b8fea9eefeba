"""The guard with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from headrace.workers.supervisor.guard import Guard


@pytest.fixture
def deaf() -> Iterator[subprocess.Popen[bytes]]:
    """A process group whose leader ignores SIGTERM."""
    script = "trap '' TERM; echo; while :; do sleep 1; done"
    process = subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, process_group=0)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    process.stdout.close()


def test_it_ends_a_group_that_does_not_listen_when_nobody_is_left(deaf: subprocess.Popen[bytes]) -> None:
    guard = Guard(grace=1)
    guard.watch(deaf.pid)
    assert guard._writing is not None
    os.close(guard._writing)  # as the kernel does for a process that was killed
    assert deaf.wait(60) == -signal.SIGKILL
    os.waitpid(guard.pid, 0)


def test_it_leaves_at_once_where_the_engine_is_gone(deaf: subprocess.Popen[bytes]) -> None:
    guard = Guard(grace=1)
    guard.watch(deaf.pid)
    guard.close()
    guard.close()
    assert os.waitstatus_to_exitcode(os.waitpid(guard.pid, 0)[1]) == 0
    assert deaf.poll() is None


def test_an_engine_that_could_not_be_started_needs_none() -> None:
    guard = Guard()
    guard.kill()
    assert os.waitstatus_to_exitcode(os.waitpid(guard.pid, 0)[1]) in (0, -signal.SIGKILL)

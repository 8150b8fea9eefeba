from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from headrace.local.guard import Guard
from tests.local.yard import alive, wait_until

PARENT = """
import subprocess, sys, time
from headrace.local.guard import Guard
guard = Guard(grace=float(sys.argv[1]))
child = subprocess.Popen([sys.executable, "-c", sys.argv[2]], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
guard.add(child.pid)
print(child.pid, guard.pid, flush=True)
time.sleep(600)
"""
SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"
NOTES = f"""
import os, signal, sys
def end(*_):
    open({{path!r}}, "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
{SLEEPS}
"""


def orphaned(child: str, grace: float = 60.0) -> tuple[int, int]:
    """Kills a parent with kill -9; the pids of its child and of its guard."""
    command = [sys.executable, "-c", PARENT, str(grace), child]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = parent.stdout.readline().split()
        parent.kill()
    return int(pids[0]), int(pids[1])


def test_no_orphan_survives_a_kill_of_the_parent() -> None:
    child, guard = orphaned(SLEEPS)
    wait_until(lambda: not alive(child))
    wait_until(lambda: not alive(guard))


def test_an_orphan_may_end_in_order(tmp_path: Path) -> None:
    note = tmp_path / "ended"
    child, _ = orphaned(NOTES.format(path=str(note)))
    wait_until(lambda: not alive(child))
    assert note.exists()


def test_an_orphan_that_does_not_listen_is_killed() -> None:
    child, _ = orphaned(STUBBORN, grace=0.2)
    wait_until(lambda: not alive(child))


def test_what_the_orphan_started_goes_too() -> None:
    grandchild = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]).wait()"
    child, guard = orphaned(grandchild, grace=0.2)
    wait_until(lambda: not alive(guard))
    assert not alive(child)
    members = subprocess.run(["ps", "-o", "pid=", "-g", str(child)], capture_output=True, text=True, check=False)
    assert [pid for pid in members.stdout.split() if alive(int(pid))] == []


def test_what_was_taken_back_is_left_alone() -> None:
    guard = Guard(grace=0.1)
    with subprocess.Popen([sys.executable, "-c", SLEEPS], start_new_session=True) as child:
        guard.add(child.pid)
        guard.remove(child.pid)
        guard.close()
        assert child.poll() is None
        child.kill()


def test_a_guard_that_was_killed_is_replaced() -> None:
    guard = Guard(grace=0.1)
    children = [subprocess.Popen([sys.executable, "-c", SLEEPS], start_new_session=True) for _ in range(2)]
    guard.add(children[0].pid)
    first = guard.pid
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not alive(first))
    guard.add(children[1].pid)
    assert guard.pid != first
    guard.close()
    for child in children:
        assert child.wait(30) == -signal.SIGTERM

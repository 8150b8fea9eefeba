"""Several processes behind one port: they share it, are replaced, are counted together, and end in peace."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

import psutil

from tests.service.conftest import PATIENCE, Program, wait_for

Start = Callable[..., Program]


def gone(pid: int) -> bool:
    """Whether the process has ended; who has no parent any more may wait for its burial."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_two_processes_share_the_port_and_are_counted_together(start: Start) -> None:
    program = start("many").ready()
    wait_for(lambda: len(program.pids()) == 2, "both answer")
    before = program.metric("test_requests_total")
    for _ in range(10):
        assert program.get("/pid")[0] == 200
    assert program.metric("test_requests_total") == before + 10
    pages = json.loads(program.get("/debug/pid", ops=True)[1])
    assert {page["pid"] for page in pages} == program.pids()
    assert program.get("/debug/none", ops=True)[0] == 404
    assert program.get("/load", ops=True)[0] == 404
    assert program.end() == 0


def test_process_that_is_killed_is_replaced_and_its_counts_stay(start: Start) -> None:
    program = start("many").ready()
    wait_for(lambda: len(program.pids()) == 2, "both answer")
    victim = min(program.pids())
    counted = program.metric("test_requests_total")
    os.kill(victim, signal.SIGKILL)
    seen = []

    def replaced() -> bool:
        seen.append(program.metric("test_requests_total"))
        return victim not in (pids := program.pids()) and len(pids) == 2

    wait_for(replaced, "another one took its place")
    program.ready()
    seen.append(program.metric("test_requests_total"))
    assert [counted, *seen] == sorted([counted, *seen])
    assert "a process died; starting another" in program.log.read_text()


def test_gauges_of_a_process_that_died_are_forgotten(start: Start) -> None:
    program = start("many").ready()
    program.begin_slow()
    wait_for(lambda: program.metric("test_busy") == 1, "it runs")
    for pid in program.pids():
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: program.metric("test_busy") == 0, "it is gone")


def test_drain_finishes_what_runs_and_accepts_no_more(start: Start) -> None:
    program = start("many").ready()
    slow = program.begin_slow()
    assert program.get("/drain", ops=True, method="POST")[0] == 202
    wait_for(program.refuses, "nobody listens")
    assert program.process.poll() is None
    assert program.get("/readyz", ops=True) == (503, "draining\n")
    program.tell("go")
    assert slow.getresponse().read() == b"done"
    assert program.process.wait(PATIENCE) == 0


def test_ctrl_c_drains(start: Start) -> None:
    """It goes to the whole group, and is not to count twice for the children."""
    program = start("many").ready()
    slow = program.begin_slow()
    os.killpg(program.process.pid, signal.SIGINT)
    wait_for(program.refuses, "nobody listens")
    program.tell("go")
    assert slow.getresponse().read() == b"done"
    assert program.process.wait(PATIENCE) == 0


def test_second_signal_ends_at_once(start: Start) -> None:
    program = start("many").ready()
    pids = program.pids()
    program.begin_slow()
    program.process.send_signal(signal.SIGTERM)
    wait_for(lambda: program.told("drained"), "it drains")
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(PATIENCE) == 0
    wait_for(lambda: all(map(gone, pids)), "nothing is left")


def test_wrong_settings_end_it_instead_of_being_tried_for_ever(start: Start) -> None:
    program = start("many")
    program.ready()
    program.tell("broken")
    for pid in program.pids():
        os.kill(pid, signal.SIGKILL)
    assert program.process.wait(PATIENCE) == 2
    text = program.log.read_text()
    assert "test.port: is wrong" in text
    assert "cannot run with these settings" in text


def test_children_end_with_their_parent(start: Start) -> None:
    program = start("many").ready()
    wait_for(lambda: len(program.pids()) == 2, "both answer")
    pids = program.pids()
    program.process.kill()
    wait_for(lambda: all(map(gone, pids)), "they end too")


def test_not_ready_while_one_is_not(start: Start) -> None:
    program = start("many").ready()
    program.tell("unready")
    assert program.get("/readyz", ops=True) == (503, "not yet\n")

"""One service in one process: its ports, its start, its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from tests.service.conftest import PATIENCE, Program, wait_for

Start = Callable[..., Program]


def test_ops_port_answers_while_the_service_starts(start: Start) -> None:
    program = start("one")
    program.ready()
    assert program.end() == 0
    program.tell("hold")
    program = start("one")
    wait_for(lambda: program.get("/livez", ops=True) == (200, "ok\n"), "it lives")
    assert program.get("/readyz", ops=True) == (503, "starting\n")
    assert program.refuses()
    (program.folder / "hold").unlink()
    program.ready()
    assert program.get("/pid")[1] == str(program.process.pid)


def test_end_that_is_asked_for_during_the_start_is_an_end(start: Start) -> None:
    (program := start("one")).tell("hold")
    wait_for(lambda: program.get("/livez", ops=True)[0] == 200, "it lives")
    assert program.end() == 0
    assert program.told("closed")


def test_its_own_reason_is_told(start: Start) -> None:
    program = start("one").ready()
    program.tell("unready")
    assert program.get("/readyz", ops=True) == (503, "not yet\n")
    assert program.get("/load", ops=True) == (200, '{"running":0}')
    assert program.metric("test_requests_total") == 0


def test_signal_drains(start: Start) -> None:
    program = start("one").ready()
    slow = program.begin_slow()
    os.killpg(program.process.pid, signal.SIGINT)
    wait_for(program.refuses, "nobody listens")
    assert program.get("/readyz", ops=True) == (503, "draining\n")
    program.tell("go")
    assert slow.getresponse().read() == b"done"
    assert program.process.wait(PATIENCE) == 0
    assert program.told("drained")
    assert program.told("closed")


def test_second_signal_ends_at_once(start: Start) -> None:
    program = start("one").ready()
    program.begin_slow()
    program.process.send_signal(signal.SIGTERM)
    wait_for(lambda: program.told("drained"), "it drains")
    assert program.end() == 130


def test_it_ends_with_whoever_started_it(start: Start) -> None:
    reader, writer = os.pipe()
    program = start("one", pass_fds=(reader,), HEADRACE_PARENT_FD=str(reader)).ready()
    os.close(reader)
    os.close(writer)
    assert program.process.wait(PATIENCE) == 0
    assert "the parent process is gone" in program.log.read_text()


def test_taken_port_is_said_in_one_line(start: Start) -> None:
    first = start("one").ready()
    second = start("one", TEST_PORT=str(first.port))
    assert second.process.wait(PATIENCE) == 2
    assert f"port {first.port} (test) is taken by another program" in second.log.read_text()

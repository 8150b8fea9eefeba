from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.errors import ConfigError
from headrace.local.runfile import Run, RunFile, RunningChild, read

RUN = Run(
    pid=os.getpid(),
    version="1",
    api="http://127.0.0.1:8000",
    web="",
    ready=True,
    children={"llm-api": RunningChild("ready", 2, "http://127.0.0.1:8000", "http://127.0.0.1:9100", "api.log", 0)},
)


def unexpected() -> None:
    raise AssertionError("nothing to wait for")


class Clock:
    """A clock that moves when somebody sleeps."""

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self.now = 0.0
        self._wake = wake

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._wake()


def test_tells_what_runs_until_the_release(tmp_path: Path) -> None:
    run_file = RunFile(tmp_path / "home")
    run_file.acquire(unexpected)
    run_file.write(RUN)
    assert read(tmp_path / "home") == RUN
    run_file.release()
    assert read(tmp_path / "home") is None
    assert not run_file.path.exists()


def test_a_second_owner_is_told_who_is_there(tmp_path: Path) -> None:
    first, second = RunFile(tmp_path), RunFile(tmp_path)
    first.acquire(unexpected)
    first.write(RUN)
    with pytest.raises(ConfigError) as caught:
        second.acquire(unexpected)
    assert f"already runs in {tmp_path} (pid {os.getpid()}, http://127.0.0.1:8000)" in str(caught.value)
    assert "another HEADRACE_HOME" in str(caught.value)
    first.release()


def test_a_stale_file_is_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    run_file = RunFile(tmp_path)
    run_file.acquire(unexpected)
    run_file.write(Run(gone.pid, "1", "", "", True, {}))
    assert read(tmp_path) is None
    run_file.release()


def test_a_file_whose_owner_lost_the_lock_is_nothing(tmp_path: Path) -> None:
    run_file = RunFile(tmp_path)
    run_file.write(RUN)
    assert read(tmp_path) is None
    run_file.acquire(unexpected)
    assert read(tmp_path) == RUN
    run_file.release()


def test_a_damaged_file_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    assert read(tmp_path) is None
    run_file = RunFile(tmp_path)
    run_file.acquire(unexpected)
    run_file.release()


def test_waits_for_the_orphans_of_an_earlier_run(tmp_path: Path) -> None:
    orphans, run_file, said = RunFile(tmp_path), RunFile(tmp_path), []
    orphans.acquire(unexpected)
    clock = Clock(wake=orphans.release)
    run_file.acquire(lambda: said.append("waiting"), clock=clock, sleep=clock.sleep)
    assert said == ["waiting"]
    run_file.release()


def test_does_not_wait_forever(tmp_path: Path) -> None:
    orphans, run_file, clock = RunFile(tmp_path), RunFile(tmp_path), Clock()
    orphans.acquire(unexpected)
    with pytest.raises(ConfigError, match="still held"):
        run_file.acquire(lambda: None, timeout=15, clock=clock, sleep=clock.sleep)
    assert clock.now == pytest.approx(15, abs=0.2)
    orphans.release()

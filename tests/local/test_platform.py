from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace.local.runfile import Run, read
from tests.local.yard import alive, wait_until


class Driven:
    """A platform of tiny services in a process of its own."""

    def __init__(self, home: Path, process: subprocess.Popen[str], output: Path) -> None:
        self.home = home
        self.process = process
        self._output = output

    @property
    def text(self) -> str:
        return self._output.read_text()

    @property
    def events(self) -> list[str]:
        journal = self.home / "journal"
        return journal.read_text().splitlines() if journal.exists() else []

    def run(self) -> Run:
        found = read(self.home)
        assert found is not None
        return found

    def pids(self) -> list[int]:
        return [child.pid for child in self.run().children.values() if child.pid is not None]

    def until_ready(self) -> None:
        wait_until(lambda: "all ready" in self.text or self.process.poll() is not None)
        assert self.process.poll() is None, self.text


Drive = Callable[..., Driven]


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    started: list[subprocess.Popen[str]] = []

    def drive(*services: str) -> Driven:
        output = tmp_path / "output"
        with output.open("w") as file:
            command = [sys.executable, "-m", "tests.local.drive", str(tmp_path / "home"), *services]
            process = subprocess.Popen(command, stdout=file, stderr=file, text=True)
        started.append(process)
        return Driven(tmp_path / "home", process, output)

    yield drive
    for process in started:
        process.kill()
        process.wait()


@contextmanager
def stopping(driven: Driven, number: signal.Signals) -> Iterator[None]:
    driven.process.send_signal(number)
    yield
    driven.process.wait(30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_drains_in_order(drive: Drive, number: signal.Signals) -> None:
    driven = drive("web", "api", "router", "worker")
    driven.until_ready()
    pids = driven.pids()
    with stopping(driven, number):
        pass
    assert driven.process.returncode == 0
    names = ("web", "api", "router", "worker")
    assert driven.events[4:] == [f"{name} {event}" for name in names for event in ("drains", "ends")]
    assert not any(alive(pid) for pid in pids)
    assert read(driven.home) is None
    assert not (driven.home / "run.json").exists()


def test_the_second_signal_kills(drive: Drive) -> None:
    driven = drive("web=stuck", "api=stuck")
    driven.until_ready()
    pids = driven.pids()
    with stopping(driven, signal.SIGINT):
        wait_until(lambda: "web drains" in driven.events)
        driven.process.send_signal(signal.SIGINT)
    assert driven.process.returncode == 0
    assert not any(alive(pid) for pid in pids)


def test_no_child_outlives_a_kill(drive: Drive) -> None:
    driven = drive("web", "worker=stuck")
    driven.until_ready()
    pids = driven.pids()
    driven.process.kill()
    driven.process.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids))
    again = drive("web")
    again.until_ready()


def test_the_run_file_tells_what_runs(drive: Drive) -> None:
    driven = drive("web", "api")
    driven.until_ready()
    run = driven.run()
    assert run.ready
    assert run.pid == driven.process.pid
    assert {name: child.state for name, child in run.children.items()} == {"web": "ready", "api": "ready"}
    assert all(Path(child.log).read_text() == f"{name} speaks\n" for name, child in run.children.items())


def test_a_child_that_dies_is_told_and_comes_back(drive: Drive) -> None:
    driven = drive("web", "api")
    driven.until_ready()
    first = driven.run().children["api"].pid
    assert first is not None
    subprocess.run(["kill", "-9", str(first)], check=True)
    wait_until(lambda: driven.run().children["api"].restarts == 1 and driven.run().ready)
    assert "restarting: was killed (signal 9)" in driven.text
    assert "api speaks" in driven.text
    assert driven.run().children["api"].pid != first


def test_a_child_that_never_comes_up_ends_all(drive: Drive) -> None:
    driven = drive("web", "worker=broken")
    driven.process.wait(30)
    assert driven.process.returncode == 1
    assert "worker       failed: ended with exit code 3" in driven.text
    assert "  oh no" in driven.text
    assert "all ready" not in driven.text
    assert driven.events in (["web starts", "web drains", "web ends"], [])

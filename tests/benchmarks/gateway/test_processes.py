import http.server
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.gateway import processes
from benchmarks.gateway.processes import BenchmarkError, Processes, Running, free_ports, wait_ready
from tests.threaded import Quiet, serving

_SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
_FAILS = [sys.executable, "-c", "import sys; sys.exit('port taken')"]


class _NotReady(Quiet, http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/health":
            self.send_response(200)
            self.end_headers()
        else:
            self.send_error(503, "loading")


@pytest.fixture
def port() -> Iterator[int]:
    with serving(_NotReady) as address:
        yield int(address.rpartition(":")[2])


def _wait_gone(pid: int) -> None:
    """A killed process that nobody waited for yet has no command line any more."""
    deadline = time.monotonic() + 30
    while (cmdline := Path(f"/proc/{pid}/cmdline")).exists() and cmdline.read_bytes():
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.01)


def _forks(parent: str) -> list[str]:
    """A program that prints its child's pid, sets ``parent`` up and sleeps; the child ignores SIGTERM."""
    child = "signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    return [sys.executable, "-c", f"import os, signal, time\nif not (pid := os.fork()): {child}\n{parent}"]


def test_processes_end_with_the_benchmark_even_if_it_fails(tmp_path: Path) -> None:
    running: list[Running] = []

    def fail() -> None:
        with Processes(tmp_path) as started:
            running.extend(started.start(name, _SLEEPS) for name in ("a", "b"))
            raise BenchmarkError("the load failed")

    with pytest.raises(BenchmarkError, match="the load failed"):
        fail()
    assert [process.process.returncode for process in running] == [-15, -15]


@pytest.mark.parametrize(
    ("parent", "status"), [("pass", -15), ("signal.signal(15, signal.SIG_IGN)", -9)], ids=["ends", "ignores SIGTERM"]
)
def test_no_child_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parent: str, status: int) -> None:
    monkeypatch.setattr(processes, "_STOP_TIMEOUT", 2.0)
    with Processes(tmp_path) as started:
        running = started.start("api", _forks(f"{parent}; print(pid, flush=True); time.sleep(600)"))
        while not running.log.read_text().endswith("\n"):
            running.check()
    assert running.process.returncode == status
    _wait_gone(int(running.log.read_text()))


def test_a_process_that_ended_shows_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path) as started:
        running = started.start("api", _FAILS)
        running.process.wait()
        with pytest.raises(BenchmarkError, match="api ended with status 1:\nport taken"):
            started.check()


def test_waiting_for_a_process_that_ended_stops_at_once(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Processes(tmp_path) as started, pytest.raises(BenchmarkError, match="router ended with status 1"):
        wait_ready(started.start("router", _FAILS), port, "/readyz")


def test_ready_is_an_answer_of_200(tmp_path: Path, port: int) -> None:
    with Processes(tmp_path) as started:
        running = started.start("worker", _SLEEPS)
        wait_ready(running, port, "/health")
        assert running.process.poll() is None


def test_giving_up_says_what_the_process_said_last(tmp_path: Path, port: int) -> None:
    with Processes(tmp_path) as started:
        running = started.start("api", _SLEEPS)
        with pytest.raises(BenchmarkError, match=r"api was not ready after 0.3 s; GET /readyz last said: 503"):
            wait_ready(running, port, "/readyz", timeout=0.3)


def test_giving_up_says_that_nobody_listens(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Processes(tmp_path) as started:
        running = started.start("api", _SLEEPS)
        with pytest.raises(BenchmarkError, match="nobody listens"):
            wait_ready(running, port, "/readyz", timeout=0.3)


def test_the_environment_can_be_replaced(tmp_path: Path) -> None:
    show = [sys.executable, "-c", "import os; print(os.environ.get('HEADRACE_HOME'), os.environ.get('HOME'))"]
    with Processes(tmp_path) as started:
        running = started.start("api", show, {"HEADRACE_HOME": "/x", "PATH": os.environ["PATH"]})
        running.process.wait()
    assert running.log.read_text().strip() == "/x None"


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(8))) == 8


def test_logs_are_kept_if_the_benchmark_fails(tmp_path: Path) -> None:
    kept, own = tmp_path / "kept", tmp_path / "own"
    own.mkdir()
    with Processes(own) as started:
        started.start("router", _FAILS).process.wait()
        with pytest.raises(BenchmarkError, match=f"the load failed\nThe logs are in {kept}"), started.logs_kept(kept):
            raise BenchmarkError("the load failed")
    assert (kept / "router.log").read_text().strip() == "port taken"

"""The supervisor with an engine that fails as it is told."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from headrace.workers.supervisor.ending import Exit
from tests.workers.trt.conftest import Make

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("failure", "exit_", "advice"),
    [
        ("nogpu", Exit.NO_GPU, "give the container a GPU"),
        ("oom", Exit.OUT_OF_MEMORY, "quantise"),
        ("model", Exit.BAD_MODEL, "serve the model with vLLM"),
    ],
)
def test_the_exit_code_says_why(make: Make, failure: str, exit_: Exit, advice: str) -> None:
    worker = make(STANDIN_FAIL=failure)
    worker.spawn()
    assert worker.wait_ended() == exit_
    assert advice in worker.last_words().splitlines()[-1]


def test_an_end_without_a_reason_is_tried_again_a_few_times(make: Make) -> None:
    worker = make({"restarts": 2}, STANDIN_FAIL="crash", STANDIN_LOAD="0")
    worker.spawn()
    assert worker.wait_ended() == Exit.ENGINE_FAILED
    text = worker.last_words()
    assert text.count('"engine started"') == 3
    assert "exit code 139" in text


def test_an_engine_that_does_not_get_ready_is_killed(make: Make) -> None:
    worker = make({"restarts": 0, "startup_timeout": 1}, STANDIN_LOAD="600")
    worker.spawn()
    assert worker.wait_ended() == Exit.ENGINE_FAILED
    assert "not ready after 1 s" in worker.last_words()


def test_a_start_can_be_stopped(make: Make) -> None:
    worker = make(STANDIN_LOAD="600")
    worker.spawn()
    worker.wait_until("it loads", lambda: worker.readyz() == (503, "loading the model"))
    engines = worker.process.children(recursive=True)
    worker.signal(signal.SIGTERM)
    assert worker.wait_ended() == Exit.OK
    assert not any(process.is_running() for process in engines)


def test_every_line_of_the_log_is_json_with_a_level(make: Make) -> None:
    worker = make(STANDIN_FAIL="nogpu")
    worker.spawn()
    worker.wait_ended()
    *lines, last = worker.last_words().splitlines()
    records = [json.loads(line) for line in lines]
    assert last.startswith("headrace: ")
    assert any(record["event"].startswith("[TRT-LLM] [I] Starting") for record in records)
    assert all(record["level"] and record["service"] == "trt-worker" for record in records)


def test_the_statistics_are_the_load_where_prometheus_does_not_tell(make: Make) -> None:
    worker = make(STANDIN_OLD="1")
    worker.start()
    with worker.under_load(2):
        load = worker.load()
        assert (load["running"], load["kv_total"], load["block_size"]) == (2, 1000, 32)
        worker.wait_until("iterations move", lambda: worker.load()["iterations"] > load["iterations"])
    worker.wait_idle()


def test_a_wedged_executor_behind_a_healthy_server_is_found_out(make: Make, tmp_path: Path) -> None:
    wedge = tmp_path / "wedge"
    worker = make({"stall_timeout": 1.0, "wedge_timeout": 4.0}, STANDIN_WEDGE=str(wedge))
    worker.start()
    before = worker.load()["epoch"]
    request = worker.slow()
    worker.wait_until("it works", lambda: worker.busy() == 1)
    wedge.touch()
    worker.wait_until("it is found out", lambda: worker.readyz()[1].startswith("stalled"))
    assert request.finish().cut
    wedge.unlink()
    worker.wait_until("another engine is there", lambda: worker.load()["epoch"] != before)
    worker.wait_ready()


def test_an_engine_that_says_that_it_is_not_well_is_not_ready_until_it_is(make: Make, tmp_path: Path) -> None:
    sick = tmp_path / "sick"
    worker = make(STANDIN_SICK=str(sick))
    worker.start()
    sick.touch()
    worker.wait_until("it is not ready", lambda: worker.readyz() == (503, "the engine says that it is not well"))
    sick.unlink()
    worker.wait_ready()
    assert worker.metrics()["llm_worker_restarts_total"] == 0


def test_an_idle_engine_is_never_taken_for_a_stalled_one(make: Make) -> None:
    """Its counts linger, but it answers when asked."""
    worker = make({"stall_timeout": 1.0, "wedge_timeout": 3.0})
    worker.start()
    path, body = worker.generation(3)
    assert worker.post(path, body).status == 200
    epoch, end = worker.load()["epoch"], time.monotonic() + 5
    while time.monotonic() < end:
        assert worker.readyz() == (200, "ok")
        time.sleep(0.2)
    assert worker.load()["epoch"] == epoch
    assert worker.busy() == 0


def test_a_second_signal_ends_it_at_once(make: Make) -> None:
    worker = make()
    worker.start()
    with worker.under_load(1, tokens=2000) as (request,):
        worker.signal(signal.SIGTERM)
        worker.wait_until("it drains", lambda: worker.readyz() == (503, "draining"))
        worker.signal(signal.SIGTERM)
        assert worker.wait_ended() == Exit.CUT
        assert request.finish().cut


def test_a_drain_that_takes_too_long_cuts_and_says_so(make: Make) -> None:
    worker = make({"drain_timeout": 2})
    worker.start()
    with worker.under_load(1, tokens=2000) as (request,):
        worker.signal(signal.SIGTERM)
        assert worker.wait_ended() == Exit.CUT
        assert request.finish().cut
    assert "requests still ran after 2 s" in worker.last_words()


@pytest.mark.parametrize("variables", [{}, {"STANDIN_DEAF": "1"}], ids=["willing", "wedged"])
def test_the_engine_does_not_outlive_a_killed_supervisor(make: Make, variables: dict[str, str]) -> None:
    worker = make(**variables)
    worker.start()
    engines = worker.process.children(recursive=True)
    worker.signal(signal.SIGKILL)
    gone, alive = psutil.wait_procs(engines, timeout=60)
    assert gone
    assert not alive


def test_orphans_are_reaped_and_end_with_the_engine(make: Make, tmp_path: Path) -> None:
    """As PID 1 does: what the engine's own children leave behind comes to the supervisor."""
    worker = make()
    kind = worker.kind
    engine = Path(str(kind.settings["executable"]))
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\n(sleep 0.1 &)\n(sleep 987 & echo $! > {tmp_path}/orphan)\nexec {engine} "$@"\n')
    wrapper.chmod(0o755)
    worker = make({"executable": str(wrapper)})
    worker.start()
    orphan = psutil.Process(int((tmp_path / "orphan").read_text()))
    assert orphan.ppid() == worker.process.pid
    states = [process.status() for process in worker.process.children(recursive=True)]
    assert psutil.STATUS_ZOMBIE not in states
    worker.signal(signal.SIGTERM)
    assert worker.wait_ended() == Exit.OK
    assert not orphan.is_running()


def test_what_is_wrong_before_the_start_is_told_in_one_line(make: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cases = [
        ({"executable": "trtllm-serve"}, "must be the absolute path of a program"),
        ({"model": str(tmp_path / "absent")}, "there is no model folder"),
        ({"model": str(tmp_path / "empty")}, "holds no model"),
        ({"backend": "tensorrt"}, "use tensorrt for a built engine"),
        ({"name": "a/b"}, "must not hold a slash"),
        ({"port": 0}, "choose a port"),
    ]
    for settings, told in cases:
        worker = make(settings)
        worker.log.unlink(missing_ok=True)
        worker.spawn()
        assert worker.wait_ended() == 2
        (line,) = worker.last_words().splitlines()
        assert line.startswith("headrace: ")
        assert told in line


def test_a_taken_port_is_told_before_anything_is_started(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        worker = make({"port": taken.getsockname()[1]})
        worker.spawn()
        assert worker.wait_ended() == 2
    assert "is taken by another program" in worker.last_words()


def test_without_a_secret_it_serves_its_own_machine_only(make: Make) -> None:
    worker = make({"hop_secret": "", "host": "0.0.0.0"})
    worker.start()
    (listening,) = {
        connection.laddr.ip
        for process in worker.process.children(recursive=True)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == "127.0.0.1"

import os
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.gateway import sampled
from benchmarks.gateway.loadbench import ROOT
from benchmarks.gateway.processes import Processes, free_ports, wait_ready


def test_stacks_are_counted_from_the_outermost_function(tmp_path: Path) -> None:
    sampler = sampled.Sampler()

    def burn() -> None:
        while not sampler.stacks:
            sum(range(1000))

    before = signal.getsignal(signal.SIGPROF)
    sampler.start()
    try:
        burn()
    finally:
        sampler.stop()
        signal.signal(signal.SIGPROF, before)
    sampler.write(tmp_path / "own.stacks")
    frames, _, count = (tmp_path / "own.stacks").read_text().splitlines()[0].rpartition(" ")
    names = [frame.split(" (")[0].rsplit(".", 1)[-1] for frame in frames.split(";")]
    assert names.index("test_stacks_are_counted_from_the_outermost_function") < names.index("burn")
    assert int(count) >= 1


def _sampled(file: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.gateway.sampled", str(file), *flags]


def test_start_up_is_not_sampled(tmp_path: Path) -> None:
    file = tmp_path / "start.stacks"
    done = subprocess.run(_sampled(file, "--version"), cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("headrace ")
    assert file.read_text() == ""


def test_a_service_is_sampled_once_it_is_told_to(tmp_path: Path) -> None:
    port, ops_port, worker = free_ports(3)
    file = tmp_path / "router.stacks"
    flags = ["--host", "127.0.0.1", "--port", str(port), "--ops-port", str(ops_port)]
    with Processes(tmp_path) as started:
        running = started.start("router", _sampled(file, "router", *flags, "--worker", f"m=http://127.0.0.1:{worker}"))
        wait_ready(running, ops_port, "/readyz")
        os.kill(running.pid, sampled.BEGIN)
        for _ in range(500):  # a second of CPU: hundreds of the kernel's ticks
            wait_ready(running, ops_port, "/metrics")
    assert running.process.returncode == 0
    assert "headrace" in file.read_text()

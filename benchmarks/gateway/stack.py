"""What is measured, as real processes: mock workers, nginx, and Headrace's router and llm-api."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gateway import nginx
from benchmarks.gateway.columns import FAST_MODEL, PACES
from benchmarks.gateway.processes import Processes, Running, free_ports, wait_ready
from headrace.store.secret import new_id, new_key


@dataclass(frozen=True, slots=True)
class Target:
    """One way to the workers."""

    name: str
    urls: Mapping[str, str]
    """The address to use for each model."""
    key: str = ""
    services: Mapping[str, int] = field(default_factory=dict)
    """Roots of the process trees whose CPU counts."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """That requests need besides those that every client sends; ``{model}`` in them is the model."""


@dataclass(frozen=True, slots=True)
class Stack:
    direct: Target
    headrace: Target
    nginx: Target | None
    """None where nginx is not installed."""


def start(
    processes: Processes,
    loadbench: Path,
    process_count: int,
    samples: Path | None = None,
    paces: Mapping[str, str] = PACES,
) -> Stack:
    """Start everything, a mock worker for each of ``paces``, and wait until it is ready. Raises BenchmarkError.

    With ``samples`` llm-api and router are sampled and leave ``api.stacks`` and ``router.stacks`` in that folder.
    """
    workers = start_workers(processes, loadbench, paces)
    direct = Target("direct", {model: f"http://127.0.0.1:{port}" for model, port in workers.items()})
    headrace = start_headrace(processes, specifications(direct), process_count, samples)
    return Stack(direct, headrace, start_nginx(processes, workers, process_count))


def start_workers(processes: Processes, loadbench: Path, paces: Mapping[str, str]) -> dict[str, int]:
    """Mock workers; their ports by model."""
    ports = dict(zip(paces, free_ports(len(paces)), strict=True))
    for model, port in ports.items():
        argv = [str(loadbench), "worker", "-addr", f"127.0.0.1:{port}", "-model", model, "-interval", paces[model]]
        wait_ready(processes.start(f"worker-{model}", argv), port, "/health")
    return ports


def start_nginx(processes: Processes, workers: Mapping[str, int], process_count: int = 1) -> Target | None:
    """nginx in front of workers (ports by model); None where it is not installed."""
    executable = nginx.binary()
    if executable is None:
        return None
    folder = processes.folder / "nginx"
    folder.mkdir()
    ports = dict(zip(workers, free_ports(len(workers)), strict=True))
    upstreams = {ports[model]: workers[model] for model in workers}
    streaming = {port for model, port in ports.items() if model != FAST_MODEL}
    config = nginx.render(folder, upstreams, streaming, process_count)
    (folder / "nginx.conf").write_text(config, encoding="utf-8")
    running = processes.start("nginx", nginx.command(executable, folder))
    for port in ports.values():
        wait_ready(running, port, "/health")
    urls = {model: f"http://127.0.0.1:{port}" for model, port in ports.items()}
    return Target("nginx", urls, services={"nginx": running.pid})


def specifications(workers: Target) -> list[str]:
    """As ``headrace router --worker`` takes them."""
    return [f"{model}={url}" for model, url in workers.urls.items()]


def start_headrace(
    processes: Processes, workers: Sequence[str], process_count: int = 1, samples: Path | None = None
) -> Target:
    """llm-api and the router in front of ``workers``, each ``MODEL=URL``."""
    router_port, router_ops, api_port, api_ops = free_ports(4)
    key = new_key(new_id())
    env = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    env |= {
        "HEADRACE_HOME": str(processes.folder / "home"),
        "HEADRACE_BOOTSTRAP_KEY": key,
        "HEADRACE_API_HOST": "127.0.0.1",
        "HEADRACE_ROUTER_HOST": "127.0.0.1",
    }

    def serve(service: str, port: int, ops_port: int, flags: list[str]) -> Running:
        argv = [*_python(service, samples), service, "--port", str(port), "--ops-port", str(ops_port), *flags]
        running = processes.start(service, [*argv, "--processes", str(process_count)], env)
        wait_ready(running, ops_port, "/readyz")
        return running

    pools = [flag for worker in workers for flag in ("--worker", worker)]
    router = serve("router", router_port, router_ops, pools)
    api = serve("api", api_port, api_ops, ["--router", f"http://127.0.0.1:{router_port}"])
    url = f"http://127.0.0.1:{api_port}"
    models = [worker.partition("=")[0] for worker in workers]
    return Target("headrace", dict.fromkeys(models, url), key, {"api": api.pid, "router": router.pid})


def _python(service: str, samples: Path | None) -> list[str]:
    if samples is None:
        return [sys.executable, "-m", "headrace"]
    return [sys.executable, "-m", "benchmarks.gateway.sampled", str(samples / f"{service}.stacks")]

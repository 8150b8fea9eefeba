"""What is measured beside Headrace: LiteLLM, vllm-router, sglang-router, and our router without llm-api.

They live in ``.venv-rivals``, from a hash-pinned lock. Each is configured as its documentation says for this use, and
for speed: no database, no log of requests.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from benchmarks.gateway.loadbench import ROOT
from benchmarks.gateway.processes import Processes, free_ports, wait_ready
from benchmarks.gateway.stack import Target
from benchmarks.report import environment

_HOME = ROOT / ".venv-rivals"
_LOCK = ROOT / "requirements" / "rivals.txt"
_KEY = "sk-benchmark"
_PREFIX = "0123456789abcdef" * 4
"""Of four blocks, which is what llm-api sends for a prompt of 1 KB."""

CONFIGURED: Mapping[str, str] = {
    "nginx": "plain proxy, kept-alive upstream connections, no access log, no buffering of streams",
    "headrace": "llm-api and router with everything on, SQLite, access log to a file",
    "router": "our router alone: profile latency, headers as llm-api sends them (four prefix blocks)",
    "vllm-router": "--policy cache_aware, the default thresholds, --log-level error; one process a model",
    "sglang-router": "--policy cache_aware, the default thresholds, --log-level error; one process a model",
    "litellm": "proxy with a master key, a model_list of hosted_vllm entries, no database, LITELLM_LOG=ERROR",
}


def install() -> None:
    """Make their environment. Raises BenchmarkError."""
    environment.install(_HOME, _LOCK)


def versions() -> dict[str, str]:
    """By name, as they were locked."""
    pinned = (line.split(" ")[0].split("==") for line in _LOCK.read_text().splitlines() if line[:1].isalpha())
    return {name: version for name, version in pinned if name in CONFIGURED}


def start(name: str, processes: Processes, workers: Mapping[str, int], count: int) -> Target:
    """Start one in front of the workers (ports by model). Raises BenchmarkError with what it said where it fails."""
    if name == "router":
        return _router(processes, workers, count)
    if name == "litellm":
        return _litellm(processes, workers, count)
    return _rust_router(name, processes, workers)


def _router(processes: Processes, workers: Mapping[str, int], count: int) -> Target:
    port, ops = free_ports(2)
    env = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    env["HEADRACE_HOME"] = str(processes.folder / "router-home")
    argv = [sys.executable, "-m", "headrace", "router", "--host", "127.0.0.1", "--port", str(port)]
    argv += ["--ops-port", str(ops), "--processes", str(count)]
    argv += [word for model, at in workers.items() for word in ("--worker", f"{model}=http://127.0.0.1:{at}")]
    running = processes.start("router-alone", argv, env)
    wait_ready(running, ops, "/readyz")
    headers = {"x-headrace-model": "{model}", "x-headrace-cost": "250,128", "x-headrace-prefix": _PREFIX}
    urls = dict.fromkeys(workers, f"http://127.0.0.1:{port}")
    return Target("router", urls, services={"router": running.pid}, headers=headers)


def _rust_router(name: str, processes: Processes, workers: Mapping[str, int]) -> Target:
    urls, services = {}, {}
    for model, at in workers.items():
        port, metrics = free_ports(2)
        command = [name, "launch"] if name == "sglang-router" else [name]
        argv = [
            str(_HOME / "bin" / command[0]),
            *command[1:],
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--policy",
            "cache_aware",
        ]
        argv += ["--worker-urls", f"http://127.0.0.1:{at}"]
        argv += ["--prometheus-port", str(metrics), "--log-level", "error"]
        running = processes.start(f"{name}-{model}", argv)
        wait_ready(running, port, "/health")
        urls[model], services[f"{name} {model}"] = f"http://127.0.0.1:{port}", running.pid
    return Target(name, urls, services=services)


def _litellm(processes: Processes, workers: Mapping[str, int], count: int) -> Target:
    (port,) = free_ports(1)
    entries = [
        f"  - model_name: {model}\n    litellm_params: {{model: hosted_vllm/{model}, api_base: "
        f'"http://127.0.0.1:{at}/v1", api_key: none}}\n'
        for model, at in workers.items()
    ]
    config = processes.folder / "litellm.yaml"
    config.write_text(f"model_list:\n{''.join(entries)}general_settings: {{master_key: {_KEY}}}\n")
    env = {**os.environ, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_COLOR": "1"}
    argv = [str(_HOME / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    running = processes.start("litellm", [*argv, "--num_workers", str(count)], env)
    wait_ready(running, port, "/health/liveliness", timeout=120.0)
    return Target("litellm", dict.fromkeys(workers, f"http://127.0.0.1:{port}"), _KEY, {"litellm": running.pid})


def slow(name: str) -> bool:
    """Whether it gets a tenth of the requests."""
    return name == "litellm"

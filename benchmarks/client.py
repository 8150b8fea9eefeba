"""``python -m benchmarks.client``: what a user waits, measured by a public client (NVIDIA's aiperf) on ``headrace up``.

aiperf lives in ``.venv-aiperf``, from the hash-pinned ``requirements/aiperf.txt``; the demo models must be pulled.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.gateway.loadbench import ROOT
from benchmarks.gateway.processes import BenchmarkError, Processes, Running
from benchmarks.report.environment import install
from headrace.local.runfile import read
from headrace.store.secret import new_id, new_key

_HOME = ROOT / ".venv-aiperf"
_LOCK = ROOT / "requirements" / "aiperf.txt"
_MODEL, _TOKENIZER = "smollm2-135m", "all-minilm-l6-v2"
"""The tokenizer only makes prompts up; tokens are counted by the server."""
_FIGURES = {
    "time_to_first_token": "first token, ms",
    "inter_token_latency": "between tokens, ms",
    "request_latency": "whole answer, ms",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client", description=__doc__)
    parser.add_argument("--clients", default="1,4", help="at a time; several with commas")
    parser.add_argument("--requests", type=int, default=16, help="of each")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    options = parser.parse_args()
    try:
        install(_HOME, _LOCK)
        with tempfile.TemporaryDirectory(prefix="headrace-client-") as folder, Processes(Path(folder)) as processes:
            key = new_key(new_id())
            url = _up(processes, key)
            for clients in map(int, options.clients.split(",")):
                found = _aiperf(processes.folder, url, key, clients, options)
                print(_table(clients, options.requests, found), flush=True)
    except BenchmarkError as error:
        print(f"client: {error}", file=sys.stderr)
        return 1
    return 0


def _up(processes: Processes, key: str) -> str:
    models = Path(os.environ.get("HEADRACE_HOME", ROOT / ".headrace")) / "models"
    home = processes.folder / "home"
    env = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    env |= {"HEADRACE_HOME": str(home), "HEADRACE_BOOTSTRAP_KEY": key}
    argv = [sys.executable, "-m", "headrace", "up", "--port", "0", "--no-web", "--models", str(models)]
    running = processes.start("up", argv, env)
    return _wait(running, home)


def _wait(running: Running, home: Path, timeout: float = 180.0) -> str:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        running.check()
        run = read(home)
        if run is not None and run.ready:
            return run.api
        time.sleep(0.2)
    raise BenchmarkError(f"headrace up was not ready after {timeout:g} s")


def _aiperf(folder: Path, url: str, key: str, clients: int, options: argparse.Namespace) -> dict[str, Any]:
    models = Path(os.environ.get("HEADRACE_HOME", ROOT / ".headrace")) / "models"
    out = folder / f"aiperf-{clients}"
    tokenizer = folder / "tokenizer"  # transformers wants to be told the kind
    tokenizer.mkdir(exist_ok=True)
    (tokenizer / "tokenizer.json").write_bytes((models / _TOKENIZER / "tokenizer.json").read_bytes())
    (tokenizer / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    argv = [str(_HOME / "bin" / "aiperf"), "profile", "--model", _MODEL, "--endpoint-type", "chat", "--streaming"]
    argv += ["--url", url, "--api-key", key, "--tokenizer", str(tokenizer), "--use-server-token-count"]
    argv += ["--concurrency", str(clients), "--request-count", str(options.requests), "--warmup-request-count", "2"]
    argv += ["--isl", "100", "--osl", str(options.tokens), "--random-seed", "1", "--ui", "none"]
    argv += ["--artifact-dir", str(out)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    try:
        done = subprocess.run(argv, capture_output=True, cwd=folder, env=env, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        raise BenchmarkError("aiperf did not end within 300 s") from None
    files = list(out.rglob("profile_export_aiperf.json"))
    if done.returncode or not files:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()[-1500:]
        raise BenchmarkError(f"aiperf failed:\n{said}")
    found: dict[str, Any] = msgspec.json.decode(files[0].read_bytes())
    return found


def _table(clients: int, requests: int, found: dict[str, Any]) -> str:
    lines = [f"{clients} at a time, {requests} requests", f"  {'':22}{'p50':>9}{'p90':>9}{'p99':>9}"]
    for name, title in _FIGURES.items():
        figure = found.get(name) or {}
        cells = "".join(f"{figure.get(p, 0.0):9.1f}" for p in ("p50", "p90", "p99"))
        lines.append(f"  {title:22}{cells}")
    rate = (found.get("output_token_throughput") or {}).get("avg", 0.0)
    return "\n".join([*lines, f"  {rate:.1f} tokens a second"])


if __name__ == "__main__":
    sys.exit(main())

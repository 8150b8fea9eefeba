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
from collections.abc import Iterator, Sequence
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
FIGURES = {
    "time_to_first_token": "first token, ms",
    "inter_token_latency": "between tokens, ms",
    "request_latency": "whole answer, ms",
}
PERCENTILES = ("p50", "p90", "p99")
REQUESTS, TOKENS = 16, 64
Row = dict[str, dict[str, float]]
"""The percentiles of each of ``FIGURES``, and tokens a second."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client", description=__doc__)
    parser.add_argument("--clients", default="1,4", help="at a time; several with commas")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of each")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of each answer")
    options = parser.parse_args()
    try:
        for clients, row in measure(list(map(int, options.clients.split(","))), options.requests, options.tokens):
            print(_table(clients, options.requests, row), flush=True)
    except BenchmarkError as error:
        print(f"client: {error}", file=sys.stderr)
        return 1
    return 0


def measure(clients: Sequence[int], requests: int = REQUESTS, tokens: int = TOKENS) -> Iterator[tuple[int, Row]]:
    """One after the other, with so many clients at a time. Raises BenchmarkError."""
    install(_HOME, _LOCK)
    with tempfile.TemporaryDirectory(prefix="headrace-client-") as folder, Processes(Path(folder)) as processes:
        key = new_key(new_id())
        url = _up(processes, key)
        for count in clients:
            yield count, _row(_aiperf(processes.folder, url, key, count, requests, tokens))


def _row(found: dict[str, Any]) -> Row:
    row = {name: {p: float(found[name][p]) for p in PERCENTILES} for name in FIGURES}
    return {**row, "tokens": {"a second": float(found["output_token_throughput"]["avg"])}}


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


def _aiperf(folder: Path, url: str, key: str, clients: int, requests: int, tokens: int) -> dict[str, Any]:
    models = Path(os.environ.get("HEADRACE_HOME", ROOT / ".headrace")) / "models"
    out = folder / f"aiperf-{clients}"
    tokenizer = folder / "tokenizer"  # transformers wants to be told the kind
    tokenizer.mkdir(exist_ok=True)
    (tokenizer / "tokenizer.json").write_bytes((models / _TOKENIZER / "tokenizer.json").read_bytes())
    (tokenizer / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    argv = [str(_HOME / "bin" / "aiperf"), "profile", "--model", _MODEL, "--endpoint-type", "chat", "--streaming"]
    argv += ["--url", url, "--api-key", key, "--tokenizer", str(tokenizer), "--use-server-token-count"]
    argv += ["--concurrency", str(clients), "--request-count", str(requests), "--warmup-request-count", "2"]
    argv += ["--isl", "100", "--osl", str(tokens), "--random-seed", "1", "--ui", "none"]
    argv += ["--artifact-dir", str(out)]
    # where the hub is declared unreachable aiperf looks for the tokenizer in the hub's cache only, not in a folder
    env = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
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


def _table(clients: int, requests: int, row: Row) -> str:
    lines = [f"{clients} at a time, {requests} requests", f"  {'':22}" + "".join(f"{p:>9}" for p in PERCENTILES)]
    lines += [f"  {title:22}" + "".join(f"{row[name][p]:9.1f}" for p in PERCENTILES) for name, title in FIGURES.items()]
    return "\n".join([*lines, f"  {row['tokens']['a second']:.1f} tokens a second"])


if __name__ == "__main__":
    sys.exit(main())

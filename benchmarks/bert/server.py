"""An embedding server in a process of its own, and calls to it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

import msgspec
import psutil

HOST = "127.0.0.1"
_START_TIMEOUT = 120.0
_ANSWER_TIMEOUT = 600.0


@dataclass(frozen=True)
class Timing:
    """Seconds of the clock, and of the CPU time of the process under test alone."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Server:
    """Serves OpenAI's embeddings at ``path``. ``ops_port`` is a bert-worker's; 0: it has none."""

    process: psutil.Popen
    port: int
    path: str
    model: str
    ops_port: int = 0

    def embed(self, texts: Sequence[str], form: str = "base64", connection: Connection | None = None) -> None:
        body: dict[str, Any] = {"model": self.model, "input": texts, "encoding_format": form}
        if self.ops_port:
            body["truncate"] = True  # the others always cut
        kept = connection or http.client.HTTPConnection(HOST, self.port, timeout=_ANSWER_TIMEOUT)
        kept.request("POST", self.path, msgspec.json.encode(body), {"content-type": "application/json"})
        response = kept.getresponse()
        answer = response.read()
        if response.status != 200:
            raise SystemExit(f"{self.path} answered {response.status}: {answer[:300]!r}")
        if answer.count(b'"embedding":') != len(texts):
            raise SystemExit(f"{self.path} answered too few vectors")
        if connection is None:
            kept.close()

    def calls(self, calls: Sequence[Sequence[str]], clients: int, form: str = "base64") -> Timing:
        """So many clients with a connection each share the calls."""
        waiting: SimpleQueue[Sequence[str]] = SimpleQueue()
        for call in calls:
            waiting.put(call)
        began, cpu = time.perf_counter(), self._cpu()
        with ThreadPoolExecutor(clients) as pool:
            for client in [pool.submit(self._client, waiting, form) for _ in range(clients)]:
                client.result()
        return Timing(time.perf_counter() - began, self._cpu() - cpu)

    def batches(self) -> tuple[float, float]:
        """Of a bert-worker: seconds of all batches so far, and how many there were."""
        connection = http.client.HTTPConnection(HOST, self.ops_port, timeout=60)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read()
        connection.close()
        values = dict(line.rsplit(b" ", 1) for line in text.splitlines() if not line.startswith(b"#"))
        return float(values[b"bert_worker_batch_duration_seconds_sum"]), float(
            values[b"bert_worker_batch_duration_seconds_count"]
        )

    def _client(self, waiting: SimpleQueue[Sequence[str]], form: str) -> None:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_ANSWER_TIMEOUT)
        try:
            while True:
                self.embed(waiting.get_nowait(), form, connection)
        except Empty:
            connection.close()

    def _cpu(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


Connection = http.client.HTTPConnection


@contextmanager
def bert_worker(model: Path, budget: int) -> Iterator[Server]:
    """bert-worker, on free ports."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write(f"bert: {{host: {HOST}, port: 0, ops_port: 0, batch_tokens: {budget}}}\n")
        config.flush()
        command = [sys.executable, "-m", "headrace", "worker", "bert", "--model", str(model), "-c", config.name]
        with _running(command, {}) as (process, log):
            ports = _serving(process, log)
            yield Server(process, ports["port"], "/v1/embeddings", model.resolve().name, ports["ops_port"])


@contextmanager
def infinity(python: Path, model: Path) -> Iterator[Server]:
    """infinity with torch in f32, its default batch size of 32, and warmed up."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    program = str(python.parent / "infinity_emb")
    command = [program, "v2", "--model-id", str(model.resolve()), "--served-model-name", "model"]
    command += ["--engine", "torch", "--device", "cpu", "--dtype", "float32", "--batch-size", "32"]
    command += ["--host", HOST, "--port", str(port), "--log-level", "error"]
    with _running(command, {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}) as (process, log):
        _answering(process, log, port)
        yield Server(process, port, "/embeddings", "model")


@contextmanager
def _running(command: list[str], variables: Mapping[str, str]) -> Iterator[tuple[psutil.Popen, IO[bytes]]]:
    with tempfile.TemporaryFile() as log:
        process = psutil.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env={**os.environ, **variables}
        )
        try:
            yield process, log
        finally:
            process.terminate()
            process.wait(60)


def _serving(process: psutil.Popen, log: IO[bytes]) -> Any:
    """The ports, as the worker's log tells them."""
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        log.seek(0)
        for line in log.read().splitlines():
            if b'"serving"' in line:
                return msgspec.json.decode(line)
        time.sleep(0.1)
    raise SystemExit(f"bert-worker did not start:\n{_text(log)}")


def _answering(process: psutil.Popen, log: IO[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((HOST, port), 1.0).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"infinity did not start:\n{_text(log)}")


def _text(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")

"""How fast bert-worker is: the bare backend, the worker over HTTP, and a short request among bulk ones.

    python -m benchmarks.bench_bert [MODEL_FOLDER] [--texts 2000] [--rounds 3] [--peer PYTHON]

The texts are words of the model's own vocabulary in mixed lengths (log-normal, seeded). The bare backend gets them
tokenised and sorted by length, in batches of the worker's budget, all streams busy: the most that this machine can do.
Over HTTP the worker is a process of its own, and client and JSON share the machine with it. ``--peer`` names a Python
that has sentence-transformers, which encodes the same texts (batch 32, its default). The parts take turns; the best
round of each counts, and its CPU seconds are told, since machines have other things to do.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
from tokenizers import Tokenizer

from headrace.workers.bert import folder
from headrace.workers.bert.backend import Batch
from headrace.workers.bert.openvino import OpenVinoBackend
from headrace.workers.bert.queue import padded

_BUDGET = 1024
_HOST = "127.0.0.1"
_START_TIMEOUT = 120.0
_PEER = """
import json, sys, time
import torch
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
texts = json.load(open(sys.argv[2]))
model.encode(texts[:64])
began, cpu = time.perf_counter(), time.process_time()
model.encode(texts, batch_size=32)
print(json.dumps([time.perf_counter() - began, time.process_time() - cpu]))
"""


@dataclass
class Timing:
    """Seconds of the clock and of all CPUs."""

    wall: float
    cpu: float


class Worker:
    """A running bert-worker."""

    def __init__(self, process: psutil.Popen, port: int, ops_port: int, model: str) -> None:
        self.process, self.port, self.ops_port, self.model = process, port, ops_port, model

    def embed(self, texts: Sequence[str], form: str = "base64") -> None:
        body = msgspec.json.encode({"model": self.model, "input": texts, "encoding_format": form, "truncate": True})
        status, answer = _request(self.port, "POST", "/v1/embeddings", body)
        if status != 200:
            raise SystemExit(f"the worker answered {status}: {answer[:300]!r}")
        if len(msgspec.json.decode(answer)["data"]) != len(texts):
            raise SystemExit("the worker answered too few vectors")

    def batches(self) -> tuple[float, float]:
        """Seconds of all batches so far, and how many there were."""
        _, text = _request(self.ops_port, "GET", "/metrics")
        values = dict(line.rsplit(b" ", 1) for line in text.splitlines() if not line.startswith(b"#"))
        return float(values[b"bert_worker_batch_duration_seconds_sum"]), float(
            values[b"bert_worker_batch_duration_seconds_count"]
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=Path(".headrace/models/all-minilm-l6-v2"))
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", type=Path, help="a Python that has sentence-transformers")
    arguments = parser.parse_args()
    model = folder.read(arguments.model)
    tokenizer = Tokenizer.from_file(str(model.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(model.context)
    texts = _texts(tokenizer, arguments.texts, seed=1)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    print(f"{len(texts)} texts, seed 1, {sum(map(len, rows))} tokens, budget {_BUDGET}")
    backend = OpenVinoBackend(model)
    batches = _batches(rows)
    with _worker(arguments.model) as worker:
        parts: dict[str, Callable[[], Timing]] = {
            f"bare backend, {backend.precision}, {backend.streams} streams": lambda: _bare(backend, batches),
            "HTTP, one call, base64": lambda: _http(worker, [texts], 1, "base64"),
            "HTTP, calls of 32 by 8 clients, base64": lambda: _http(worker, _cut(texts, 32), 8, "base64"),
            "HTTP, calls of 32 by 8 clients, float": lambda: _http(worker, _cut(texts, 32), 8, "float"),
            "HTTP, single texts by 64 clients, base64": lambda: _http(worker, _cut(texts, 1), 64, "base64"),
        }
        if arguments.peer:
            parts["sentence-transformers, f32"] = lambda: _peer(arguments.peer, arguments.model, texts)
        _report(_measure(parts, arguments.rounds), len(texts))
        _short_among_bulk(worker, texts)


def _measure(parts: dict[str, Callable[[], Timing]], rounds: int) -> dict[str, Timing]:
    best: dict[str, Timing] = {}
    for _ in range(rounds):
        for name, part in parts.items():
            timing = part()
            if name not in best or timing.wall < best[name].wall:
                best[name] = timing
    return best


def _report(best: dict[str, Timing], texts: int) -> None:
    reference = next(iter(best.values()))
    print(f"{'':48}{'texts/s':>9}{'CPU s':>8}{'of bare':>9}")
    for name, timing in best.items():
        print(f"{name:48}{texts / timing.wall:9.0f}{timing.cpu:8.2f}{reference.wall / timing.wall:9.2f}")


def _short_among_bulk(worker: Worker, texts: list[str], count: int = 200) -> None:
    """Latency of one short text at a time, alone and while four clients keep the worker full."""
    alone = [_timed(worker.embed, ["hello"]) for _ in range(count)]
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            worker.embed(texts[:512])

    with ThreadPoolExecutor(4) as pool:
        floods = [pool.submit(flood) for _ in range(4)]
        try:
            time.sleep(1)
            seconds, batches = worker.batches()
            crowded = [_timed(worker.embed, ["hello"]) for _ in range(count)]
            later, more = worker.batches()
        finally:
            stop.set()
        for flood_done in floods:
            flood_done.result()
    batch = (later - seconds) / (more - batches)
    print(f"one short text, ms: alone p50 {_ms(alone, 50)}, p99 {_ms(alone, 99)}; under full load p50", end=" ")
    p99 = float(np.percentile(crowded, 99))
    print(f"{_ms(crowded, 50)}, p99 {_ms(crowded, 99)} = {p99 / batch:.1f} batch times of {batch * 1000:.1f}")


def _ms(seconds: list[float], percent: float) -> str:
    return f"{float(np.percentile(seconds, percent)) * 1000:.1f}"


def _timed(work: Callable[[list[str]], None], argument: list[str]) -> float:
    began = time.perf_counter()
    work(argument)
    return time.perf_counter() - began


def _bare(backend: OpenVinoBackend, batches: list[Batch]) -> Timing:
    began, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(backend.streams) as pool:
        list(pool.map(backend.infer, batches))
    return Timing(time.perf_counter() - began, time.process_time() - cpu)


def _http(worker: Worker, calls: list[list[str]], clients: int, form: str) -> Timing:
    began, cpu = time.perf_counter(), _cpu(worker.process)
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda texts: worker.embed(texts, form), calls))
    return Timing(time.perf_counter() - began, _cpu(worker.process) - cpu)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _peer(python: Path, model: Path, texts: list[str]) -> Timing:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(texts, file)
        file.flush()
        command = [str(python), "-c", _PEER, str(model), file.name]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        output = subprocess.run(command, check=True, capture_output=True, env=environment).stdout
    wall, cpu = json.loads(output.splitlines()[-1])
    return Timing(wall, cpu)


def _texts(tokenizer: Tokenizer, count: int, seed: int) -> list[str]:
    dice = random.Random(seed)
    words = sorted(word for word in tokenizer.get_vocab() if word.isalpha())
    lengths = [min(300, max(1, int(dice.lognormvariate(3.6, 0.9)))) for _ in range(count)]
    return [" ".join(dice.choices(words, k=length)) for length in lengths]


def _cut(texts: list[str], size: int) -> list[list[str]]:
    return [texts[begin : begin + size] for begin in range(0, len(texts), size)]


def _batches(rows: list[list[int]]) -> list[Batch]:
    """The rows by length, in batches of the budget."""
    batches: list[list[list[int]]] = [[]]
    for row in sorted(rows, key=len):
        if batches[-1] and padded(len(row)) * (len(batches[-1]) + 1) > _BUDGET:
            batches.append([])
        batches[-1].append(row)
    return [_pad(batch) for batch in batches]


def _pad(rows: list[list[int]]) -> Batch:
    lengths = np.array([len(row) for row in rows], np.int32)
    ids = np.zeros((len(rows), padded(int(lengths.max()))), np.int32)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    return Batch(ids, lengths, lengths)


@contextmanager
def _worker(model: Path) -> Iterator[Worker]:
    """bert-worker in a process of its own, on free ports."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config, tempfile.TemporaryFile() as log:
        config.write(f"bert: {{host: {_HOST}, port: 0, ops_port: 0, batch_tokens: {_BUDGET}}}\n")
        config.flush()
        command = [sys.executable, "-m", "headrace", "worker", "bert", "--model", str(model), "-c", config.name]
        process = psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            ports = _wait(process, log)
            yield Worker(process, ports["port"], ports["ops_port"], model.resolve().name)
        finally:
            process.terminate()
            process.wait(60)


def _wait(process: psutil.Popen, log: Any) -> dict[str, int]:
    """The ports, as the worker's log tells them."""
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        log.seek(0)
        for line in log.read().splitlines():
            if b'"serving"' in line:
                event: dict[str, int] = msgspec.json.decode(line)
                return event
        time.sleep(0.1)
    log.seek(0)
    raise SystemExit(f"the worker did not start:\n{log.read().decode(errors='replace')}")


def _request(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(_HOST, port, timeout=600)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


if __name__ == "__main__":
    main()

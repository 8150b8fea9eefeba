"""How cost grows: with streams at a time, keys, workers, and the length of prompts."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
from sqlalchemy import insert, update

from benchmarks.gateway import loadbench, stack
from benchmarks.gateway.columns import FAST_MODEL, PACES
from benchmarks.gateway.processes import BenchmarkError, Processes
from benchmarks.gateway.stack import Target
from benchmarks.report.environment import progress
from headrace.store.database import Database, default_url
from headrace.store.keys import INFERENCE
from headrace.store.schema import KeyRow, StateRow, TenantRow
from headrace.store.secret import load_pepper, new_id, new_key

STREAMS = (100, 250, 500, 1000, 2500, 5000)
KEYS = (1, 10, 100, 1000, 10_000)
WORKERS = (1, 10, 50, 100, 250, 500)
WORDS = (200, 1000, 6_000, 20_000, 92_000)
"""Of a prompt: 1 KB to 500 KB."""
_HALF_SECOND = "500ms"
_ENGINES = 24
"""A bare engine gets at most 256 requests at a time."""

Points = list[dict[str, float]]


def streams(program: Path) -> Points:
    """µs CPU a chunk, and MiB that a stream takes, with so many at a time on one process each."""
    points: Points = []
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Processes(Path(folder)) as processes:
        argv = [str(program), "worker", "-addr", "127.0.0.1:0", "-model", "paced", "-interval", _HALF_SECOND]
        mock = processes.start("workers", [*argv, "-count", str(_ENGINES)])
        specs = [f"paced=http://{address}" for address in _addresses(mock.log, _ENGINES)]
        target = stack.start_headrace(processes, specs)
        pids = target.services.values()
        idle = _memory(pids)
        for count in STREAMS:
            progress(f"scale: {count} streams")
            flags = ["-model", "paced", "-c", str(count), "-n", str(count), "-stream", "-check", "-tokens", "6"]
            outcome = loadbench.load(program, target.urls["paced"], flags, key=target.key, pids=list(pids))
            first = outcome.ttfb_ms.p99 if outcome.ttfb_ms else 0.0
            cost = sum(outcome.cpu_us.values())
            point = {"x": count, "cpu": cost / outcome.chunks, "total": cost / 1e6, "first_p99": first}
            points.append({**point, "memory": max(0.0, _memory(pids) - idle)})
    return points


def prompts(program: Path) -> Points:
    points: Points = []
    with _running(program, PACES) as (_, target):
        for words in WORDS:
            progress(f"scale: prompts of {words} words")
            requests = max(100, min(3000, 3_000_000 // words))
            flags = ["-model", FAST_MODEL, "-c", "8", "-n", str(requests), "-prompt", str(words)]
            outcome = loadbench.load(
                program, target.urls[FAST_MODEL], flags, key=target.key, pids=list(target.services.values())
            )
            points.append({"x": words * 5.4 / 1000, "cpu": sum(outcome.cpu_us.values()) / outcome.requests})
    return points


def keys(program: Path) -> Points:
    """µs CPU a request where so many keys, each of a tenant of its own, take turns."""
    points: Points = []
    with _running(program, PACES) as (processes, target):
        texts = _make_keys(processes.folder / "home", max(KEYS))
        time.sleep(3)  # the snapshot is polled each second
        file = processes.folder / "keys"
        for count in KEYS:
            progress(f"scale: {count} keys")
            file.write_text("\n".join(texts[:count]))
            flags = ["-model", FAST_MODEL, "-c", "32", "-n", str(max(4000, count)), "-keys", str(file)]
            outcome = loadbench.load(program, target.urls[FAST_MODEL], flags, pids=list(target.services.values()))
            points.append({"x": count, "cpu": sum(outcome.cpu_us.values()) / outcome.requests})
    return points


def workers(program: Path) -> Points:
    """µs CPU a request, and ms CPU a second without any, with so many bare engines in one pool."""
    points: Points = []
    for count in WORKERS:
        progress(f"scale: {count} workers")
        with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Processes(Path(folder)) as processes:
            argv = [str(program), "worker", "-addr", "127.0.0.1:0", "-model", FAST_MODEL, "-count", str(count)]
            mock = processes.start("workers", argv)
            addresses = _addresses(mock.log, count)
            specs = [f"{FAST_MODEL}=http://{address}" for address in addresses]
            target = stack.start_headrace(processes, specs)
            router = target.services["router"]
            before, began = _cpu(router), time.monotonic()
            time.sleep(3)
            idle = (_cpu(router) - before) / (time.monotonic() - began) * 1e3
            flags = ["-model", FAST_MODEL, "-c", "32", "-n", "4000"]
            outcome = loadbench.load(
                program, target.urls[FAST_MODEL], flags, key=target.key, pids=list(target.services.values())
            )
            polls = idle / 1e3 * outcome.wall_s * 1e6  # what the polling costs is told apart
            cost = (sum(outcome.cpu_us.values()) - polls) / outcome.requests
            points.append({"x": count, "cpu": cost, "idle": idle})
    return points


PARTS: dict[str, Callable[[Path], Points]] = {
    "streams": streams,
    "prompts": prompts,
    "keys": keys,
    "workers": workers,
}


@contextmanager
def _running(program: Path, paces: Mapping[str, str]) -> Iterator[tuple[Processes, Target]]:
    """Headrace in front of a mock worker for each of ``paces``."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Processes(Path(folder)) as processes:
        ports = stack.start_workers(processes, program, paces)
        specs = [f"{model}=http://127.0.0.1:{port}" for model, port in ports.items()]
        yield processes, stack.start_headrace(processes, specs)


def _addresses(log: Path, count: int) -> list[str]:
    deadline = time.monotonic() + 30
    while len(lines := log.read_text().splitlines()) < count:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"the mock workers do not listen: {log.read_text()[-300:]}")
        time.sleep(0.05)
    return lines[:count]


def _make_keys(home: Path, count: int) -> list[str]:
    """So many tenants with a key each, written at once."""
    secret, now = load_pepper(home), time.time()
    rows, texts = [], []
    for _ in range(count):
        key = new_id()
        texts.append(new_key(key))
        rows.append({"id": key, "tenant_id": key, "digest": secret.digest(texts[-1].encode())})
    common = {"limits": {}, "created_at": now}
    tenants = [{"id": row["id"], "name": str(row["id"]), **common} for row in rows]
    with closing(Database(default_url(home))) as database, database.write() as session:
        session.execute(update(StateRow).values(revision=StateRow.revision + 1))
        session.execute(insert(TenantRow), tenants)
        session.execute(insert(KeyRow), [{**row, "name": "k", "scopes": [INFERENCE], **common} for row in rows])
    return texts


def _memory(pids: Iterable[int]) -> float:
    """MiB."""
    return float(sum(psutil.Process(pid).memory_info().rss for pid in pids)) / (1 << 20)


def _cpu(pid: int) -> float:
    """Seconds."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)

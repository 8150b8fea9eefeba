"""Half an hour at 70 % load while workers, keys and clients come and go."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from benchmarks.gateway import loadbench, stack
from benchmarks.gateway.columns import FAST_MODEL
from benchmarks.gateway.processes import Processes, Running, free_ports, wait_ready
from benchmarks.gateway.stack import Target
from benchmarks.soak.memory import Sample, growth, resident
from headrace.store.database import Database, default_url
from headrace.store.keys import KeyStore
from headrace.store.secret import load_pepper

LOAD = 0.7
ROUND_SECONDS = 10.0
_BURST_SECONDS = 1.0
_PROBES, _PROBE_REQUESTS = 3, 200
MEMORY_MIB = 8.0
"""That a million requests may leave behind in a service."""
DESCRIPTORS = 30
LATENCY = 1.5
"""Times the first half's latency that the second half's may be. Both are medians of what one client waits after each
round, as times what it waits for the yardstick in turns: the machine is not ours alone, and how long a queue gets at
70 % says more of the neighbours than of Headrace."""
_WORKERS = 3
_KEYS = 20
_STREAMS = 5
"""One round in so many has streams."""
_LEAST = 8
"""Rounds that a verdict needs."""


@dataclass(frozen=True, slots=True)
class Round:
    """What was seen at the end of one round."""

    requests: int
    """In all so far."""
    memory: dict[str, float]
    """MiB, by service."""
    descriptors: int
    p50: float
    """Milliseconds, under the load."""
    alone: float
    """Milliseconds that one client waits after it, in the median."""
    yardstick: float
    """The same for nginx, or for the worker itself where there is no nginx."""


class Keys:
    """Each round some are made and those of two rounds ago revoked."""

    def __init__(self, store: KeyStore, file: Path) -> None:
        self.file = file
        self._store = store
        self._tenant = store.create_tenant("soak", actor="soak").id
        self._made: list[list[tuple[str, str]]] = []
        self._numbers = itertools.count()

    def turn(self) -> None:
        made = [self._store.create(self._tenant, f"k{next(self._numbers)}", actor="soak") for _ in range(_KEYS)]
        self._made.append([(key.id, text) for key, text in made])
        if len(self._made) > 1:
            self.file.write_text("\n".join(text for _, text in self._made[-2]))
        if len(self._made) > 2:
            for key, _ in self._made.pop(0):
                self._store.revoke(key, actor="soak")


class Load:
    """70 % of what the machine gives at the moment, and what one client waits without it."""

    def __init__(self, program: Path, target: Target, yardstick: Target, keys: Path) -> None:
        self._program, self._target, self._yardstick, self._keys = program, target, yardstick, keys
        self._capacity = 1000.0
        self.total = 0

    def measure(self) -> float:
        """Requests a second at most."""
        outcome = self._put(self._target, self._capacity, _BURST_SECONDS, most=True)
        self._capacity, self.total = outcome.rps, self.total + outcome.requests
        return self._capacity

    def run(self, *, streams: bool) -> float:
        """The median latency of a round, in ms."""
        rate = LOAD * self.measure() / (4 if streams else 1)
        outcome = self._put(self._target, rate, ROUND_SECONDS, streams=streams)
        self.total += outcome.requests
        return outcome.total_ms.p50 if outcome.total_ms else 0.0

    def probe(self) -> tuple[float, float]:
        """What one client waits in the median for Headrace and for the yardstick, in ms; they take turns."""
        waits: dict[str, list[float]] = {self._target.name: [], self._yardstick.name: []}
        for _, target in itertools.product(range(_PROBES), (self._yardstick, self._target)):
            outcome = self._put(target, _PROBE_REQUESTS, 1.0, most=True, clients=1)
            waits[target.name].append(outcome.total_ms.p50 if outcome.total_ms else 0.0)
        self.total += _PROBES * _PROBE_REQUESTS
        return median(waits[self._target.name]), median(waits[self._yardstick.name])

    def _put(
        self,
        target: Target,
        rate: float,
        seconds: float,
        *,
        most: bool = False,
        streams: bool = False,
        clients: int = 32,
    ) -> loadbench.Outcome:
        flags = ["-model", FAST_MODEL, "-c", str(clients), "-n", str(max(clients, int(rate * seconds)))]
        flags += [] if most else ["-rate", f"{rate:g}"]
        flags += ["-stream", "-check", "-tokens", "8"] if streams else []
        flags += ["-keys", str(self._keys)] if target is self._target else []
        return loadbench.load(self._program, target.urls[FAST_MODEL], flags)


def run(processes: Processes, program: Path, minutes: float, tell: Callable[[str], None]) -> list[Round]:
    """Raises BenchmarkError where a single answer was wrong."""
    steady, *ports = free_ports(1 + _WORKERS)
    _worker(processes, program, steady)
    direct = Target("direct", {FAST_MODEL: f"http://127.0.0.1:{steady}"})
    yardstick = stack.start_nginx(processes, {FAST_MODEL: steady}) or direct
    mocks = [_worker(processes, program, port) for port in ports]
    target = stack.start_headrace(processes, [f"{FAST_MODEL}=http://127.0.0.1:{port}" for port in ports])
    home = processes.folder / "home"
    rounds: list[Round] = []
    with closing(Database(default_url(home))) as database:
        keys = Keys(KeyStore(database, load_pepper(home)), processes.folder / "keys")
        load = Load(program, target, yardstick, keys.file)
        keys.turn()
        keys.turn()
        time.sleep(2)  # llm-api looks for changes each second
        tell(f"{load.measure():,.0f} requests a second at first; {LOAD:.0%} of what it is then for {minutes:g} minutes")
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end or len(rounds) < _LEAST:
            keys.turn()
            one = len(rounds) % _WORKERS
            mocks[one].process.kill()  # while the load begins: what it had is done again elsewhere
            p50 = load.run(streams=len(rounds) % _STREAMS == _STREAMS - 1)
            mocks[one].process.wait()
            mocks[one] = _worker(processes, program, ports[one])
            rounds.append(_look(target, load.total, p50, *load.probe()))
            tell(_line(rounds[-1]))
    return rounds


def verdict(rounds: list[Round]) -> list[str]:
    """What is not flat; empty if all is. The first quarter fills pools and caches."""
    wrong = []
    settled = rounds[len(rounds) // 4 :]
    for service in rounds[0].memory:
        slope = growth([Sample(one.requests, one.memory[service]) for one in rounds])
        if slope > MEMORY_MIB and settled[-1].memory[service] - settled[0].memory[service] > MEMORY_MIB:
            wrong.append(f"{service} grows by {slope:.1f} MiB for a million requests (at most {MEMORY_MIB:g})")
    first, second = _halves(one.descriptors for one in settled)
    if max(second) > max(first) + DESCRIPTORS:
        wrong.append(f"file descriptors went from {max(first):.0f} to {max(second):.0f}")
    first, second = _halves(one.alone / one.yardstick for one in settled)
    if median(second) > LATENCY * median(first):
        wrong.append(f"latency went from {median(first):.1f} to {median(second):.1f} times the yardstick's")
    return wrong


def _halves(values: Iterable[float]) -> tuple[list[float], list[float]]:
    found = list(values)
    middle = max(1, len(found) // 2)
    return found[:middle], found[middle:] or found


def _worker(processes: Processes, program: Path, port: int) -> Running:
    argv = [str(program), "worker", "-addr", f"127.0.0.1:{port}", "-model", FAST_MODEL]
    running = processes.start(f"worker-{port}", argv)
    wait_ready(running, port, "/health")
    return running


def _look(target: Target, total: int, p50: float, alone: float, yardstick: float) -> Round:
    memory = {service: resident(pid) for service, pid in target.services.items()}
    descriptors = sum(psutil.Process(pid).num_fds() for pid in target.services.values())
    return Round(total, memory, descriptors, p50, alone, yardstick)


def _line(one: Round) -> str:
    memory = ", ".join(f"{service} {size:.1f} MiB" for service, size in one.memory.items())
    latency = f"p50 {one.p50:.2f} ms, alone {one.alone:.2f} beside {one.yardstick:.2f}"
    return f"{one.requests:>10,} requests: {memory}, {one.descriptors} descriptors, {latency}"

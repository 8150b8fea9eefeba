"""llm-apis, routers and fake workers, each a process of its own."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import text

from headrace.store.database import Database, default_url
from tests.chaos.client import Client
from tests.chaos.invariants import Account, Row, check_counters, check_memory
from tests.chaos.load import MODEL
from tests.e2e.calls import Call, get
from tests.e2e.metrics import Samples
from tests.e2e.patience import PATIENCE, wait_until
from tests.e2e.stack import Command, Home, free_port
from tests.wire.peer import Address

_UNDER_WAY = ("llm_router_in_flight", "llm_router_queue_depth", "llm_router_replay_bytes")
_ROOT = Path(__file__).parents[2]


class Worker:
    """One fake worker."""

    def __init__(self, log: Path, pace: float, host: str = "127.0.0.1") -> None:
        self.host, self.port, self.ops_port = host, free_port(), free_port()
        self.ops = f"http://{host}:{self.ops_port}"
        self.name = f"{host}:{self.port}"
        self._pace = pace
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def spec(self) -> str:
        return f"{MODEL}=http://{self.name},ops={self.ops}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def start(self) -> None:
        argv = [sys.executable, "-m", "tests.chaos.fake_worker", "--model", MODEL, "--pace", str(self._pace)]
        argv += [
            "--host",
            self.host,
            "--port",
            str(self.port),
            "--ops-port",
            str(self.ops_port),
            "--max-running",
            "200",
        ]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(argv, cwd=_ROOT, stdout=output, stderr=output)

    def wait_ready(self) -> None:
        wait_until(f"{self.name} is ready", self._ready)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait_end(self) -> None:
        wait_until(f"{self.name} has ended", lambda: self.ended)

    def set(self, **mode: Any) -> None:
        """Change how it behaves; see ``fake_worker.Mode``."""
        with Call(self.ops, "POST", "/mode", json.dumps(mode).encode()) as call:
            assert call.status == 200

    def steps(self) -> int:
        """Events that it generated."""
        return int(get(self.ops, "/load")["iterations"])

    def stats(self) -> dict[str, int]:
        found: dict[str, int] = get(self.ops, "/stats")
        return found

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._process is not None:
            self._process.wait()

    def _ready(self) -> bool:
        assert not self.ended, self._log.read_text(errors="replace")
        try:
            with Call(self.ops, "GET", "/readyz") as call:
                return call.status == 200
        except OSError:
            return False


class Replica:
    """One llm-api, or one router."""

    command: Command

    def __init__(self, fleet: Fleet, kind: str, number: int) -> None:
        self.kind = kind
        self.port, self.ops_port = free_port(), free_port()
        self.ops = f"http://127.0.0.1:{self.ops_port}"
        self.in_rotation = True
        """Whether a load balancer would send it anything."""
        self._name = kind if not number else f"{kind}-{number}"
        self._fleet = fleet

    def start(self) -> None:
        ports = ("--port", str(self.port), "--ops-port", str(self.ops_port), "--host", "127.0.0.1")
        program, more = self._fleet.program(self.kind), self._fleet.arguments(self.kind)
        self.command = self._fleet.command(self._name, self.kind, *ports, *more, program=program)

    def wait_ready(self) -> None:
        wait_until(f"{self._name} is ready", self._answers)
        self.in_rotation = True

    def drain(self) -> None:
        """As a rollout does: out of the rotation first, then SIGTERM, which waits for what runs."""
        self.in_rotation = False
        self.command.signal(signal.SIGTERM)
        assert self.command.wait() == 0, self._fleet.logs()

    def samples(self) -> Samples:
        return Samples(self.ops)

    def memory(self) -> float:
        """MiB of the process."""
        return float(psutil.Process(self.command.pid).memory_info().rss) / (1 << 20)

    def _answers(self) -> bool:
        assert not self.command.ended, self._fleet.logs()
        try:
            with Call(self.ops, "GET", "/readyz") as call:
                return call.status == 200
        except OSError:
            time.sleep(0.05)
            return False


class Fleet(Home):
    """Started by ``start``, ended by ``end``."""

    def __init__(
        self,
        path: Path,
        workers: int = 4,
        *,
        pace: float = 0.05,
        apis: int = 1,
        routers: int = 1,
        api: Mapping[str, Any] | None = None,
        shims: Mapping[str, Sequence[str]] | None = None,
        discovery: str = "",
        router_door: int = 0,
        **router: Any,
    ) -> None:
        """``router`` and ``api``: settings. ``shims``: of ``tests.chaos.shim``, by kind of service.

        ``discovery``: how the router finds the workers, if they are not to be named. ``router_door``: the port at which
        llm-api finds the router, if it is not the router's own. With either, ``start`` leaves the rest to
        ``finish_start``, as something is still to be done.
        """
        super().__init__(path)
        (path / "output").mkdir(parents=True, exist_ok=True)
        hosts = [f"127.0.0.{number + 1 if discovery else 1}" for number in range(workers)]  # as pods have their own
        self.workers = [Worker(path / "output" / f"worker-{n}.log", pace, host) for n, host in enumerate(hosts)]
        self.apis = [Replica(self, "api", number) for number in range(apis)]
        self.routers = [Replica(self, "router", number) for number in range(routers)]
        self.database = str((api or {}).get("database", default_url(path)))
        self._shims = shims or {}
        self._discovery = discovery
        self._router_door = router_door
        self._turns = itertools.count()
        self._config = path / "headrace.yaml"
        # Every worker is to have its share, so that each that is disturbed has something to lose.
        settings = {"profile": "least-work", "replicas": routers, **router}
        self._config.write_text(json.dumps({"router": settings, "api": dict(api or {})}))

    @property
    def api(self) -> Command:
        return self.apis[0].command

    @property
    def router(self) -> Command:
        return self.routers[0].command

    def start(self) -> None:
        for worker in self.workers:
            worker.start()
        for worker in self.workers:
            worker.wait_ready()
        for router in self.routers:
            router.start()
        if not self._discovery and not self._router_door:
            self.finish_start(len(self.workers))

    def finish_start(self, workers: int) -> None:
        """Wait for so many workers, then start llm-api."""
        self.wait_ready_count(workers)
        for api in self.apis:
            api.start()
            api.wait_ready()  # the first one makes the tables

    def program(self, kind: str) -> Sequence[str]:
        shims = self._shims.get(kind, ())
        return ("tests.chaos.shim", *shims, "--") if shims else ("headrace",)

    def arguments(self, kind: str) -> list[str]:
        """Of a service, besides its ports."""
        config = ["--config", str(self._config)]
        if kind == "api":
            ports = [self._router_door] if self._router_door else [one.port for one in self.routers]
            return [*config, *(flag for port in ports for flag in ("--router", f"http://127.0.0.1:{port}"))]
        specs = [self._discovery] if self._discovery else [worker.spec for worker in self.workers]
        return [*config, *(flag for spec in specs for flag in ("--worker", spec))]

    def client(self) -> Client:
        return Client(self.door, self.key)

    def door(self) -> Address:
        """Where a load balancer sends the next request."""
        doors = [api.port for api in self.apis if api.in_rotation]
        return "127.0.0.1", doors[next(self._turns) % len(doors)]

    def states(self) -> list[dict[str, str]]:
        """Of the workers, as each router sees them."""
        return [
            {worker["name"]: worker["state"] for pool in pools for worker in pool["workers"]} for pools in self._pools()
        ]

    def wait_ready_count(self, count: int, *names: str) -> None:
        """Wait until each router has so many workers that are ready, those of ``names`` among them."""

        def look() -> bool:
            ready = [{name for name, state in seen.items() if state == "ready"} for seen in self.states()]
            return all(len(seen) == count and seen.issuperset(names) for seen in ready)

        wait_until(f"the routers have {count} workers", look)

    def wait_all_ready(self) -> None:
        self.wait_ready_count(len(self.workers))

    def wait_state(self, worker: Worker, *states: str) -> None:
        wait_until(
            f"the routers see {worker.name} {states}",
            lambda: all(seen.get(worker.name) in states for seen in self.states()),
        )

    def wait_idle(self) -> None:
        wait_until("the router has nothing in flight", lambda: self.in_flight() == 0)
        wait_until("llm-api has nothing in flight", lambda: not self.total("api", "llm_api_in_flight"))

    def in_flight(self) -> int:
        pools = [pool for seen in self._pools() for pool in seen]
        return sum(pool["queued"] + sum(worker["in_flight"] for worker in pool["workers"]) for pool in pools)

    def samples(self, name: str) -> Samples:
        """What the first ``api`` or ``router`` tells in ``/metrics``."""
        return self._replicas(name)[0].samples()

    def total(self, kind: str, name: str, **labels: str) -> float:
        """A metric, over all replicas."""
        return sum(replica.samples().total(name, **labels) for replica in self._replicas(kind))

    def router_metric(self, name: str, **labels: str) -> float:
        return self.total("router", name, **labels)

    def memory(self) -> dict[str, float]:
        """MiB of each service's process, by its id: one that was started anew is another one."""
        return {f"{replica.kind} {replica.command.pid}": replica.memory() for replica in (*self.apis, *self.routers)}

    def counters(self) -> dict[str, float]:
        """All that count what is under way."""
        found = {name: self.total("router", name) for name in _UNDER_WAY}
        found["llm_api_in_flight"] = self.total("api", "llm_api_in_flight")
        found["the workers' running"] = sum(worker.stats()["running"] for worker in self.workers if not worker.ended)
        return found

    def wait_counters(self, patience: float = PATIENCE) -> None:
        """Wait until all of them are 0. Raises Violated where that does not come."""
        deadline = time.monotonic() + patience
        while any(self.counters().values()) and time.monotonic() < deadline:
            time.sleep(0.1)
        check_counters(self.counters())

    def ledger(self) -> list[Row]:
        """All rows, once no usage waits any more."""
        wait_until("no usage waits", lambda: not self.total("api", "llm_api_ledger_spool_bytes"))
        with closing(Database(self.database)) as database, database.read() as session:
            found = session.execute(text("SELECT id, status, prompt_tokens, completion_tokens FROM usage_records"))
            return [Row(*row) for row in found]

    def settle(
        self,
        account: Account,
        before: Mapping[str, float],
        *,
        strangers: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        """When all is over: every invariant that can only be seen then. ``before``: the memory. Raises Violated."""
        self.wait_counters(patience)
        account.settle(self.ledger(), strangers=strangers)
        check_memory(before, self.memory())

    def end(self) -> None:
        super().end()
        for worker in self.workers:
            worker.end()

    def _replicas(self, kind: str) -> list[Replica]:
        return self.apis if kind == "api" else self.routers

    def _pools(self) -> list[Any]:
        """What each router's ``/debug/pools`` says; of one that is away, nothing."""
        found = []
        for router in self.routers:
            try:
                found.append(get(router.ops, "/debug/pools")["pools"])
            except OSError:
                found.append([])
        return found

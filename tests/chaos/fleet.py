"""llm-api, the router and four fake workers, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos.client import Client
from tests.e2e.calls import Call, get
from tests.e2e.metrics import Samples
from tests.e2e.patience import wait_until
from tests.e2e.stack import Command, Home, free_port

MODEL = "m"
_ROOT = Path(__file__).parents[2]


class Worker:
    """One fake worker."""

    def __init__(self, log: Path, pace: float) -> None:
        self.port, self.ops_port = free_port(), free_port()
        self.ops = f"http://127.0.0.1:{self.ops_port}"
        self.name = f"127.0.0.1:{self.port}"
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
        argv += ["--port", str(self.port), "--ops-port", str(self.ops_port), "--max-running", "200"]
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


class Fleet(Home):
    """Started by ``start``, ended by ``end``."""

    router: Command
    api: Command

    def __init__(self, path: Path, workers: int = 4, *, pace: float = 0.05, **router: Any) -> None:
        """``router``: settings of the router."""
        super().__init__(path)
        self._ports = {name: free_port() for name in ("api", "api_ops", "router", "router_ops")}
        (path / "output").mkdir(parents=True, exist_ok=True)
        self.workers = [Worker(path / "output" / f"worker-{number}.log", pace) for number in range(workers)]
        self._config = path / "headrace.yaml"
        # Every worker is to have its share, so that each that is disturbed has something to lose.
        self._config.write_text(json.dumps({"router": {"profile": "least-work", **router}}))

    @property
    def api_ops(self) -> str:
        return f"http://127.0.0.1:{self._ports['api_ops']}"

    @property
    def router_ops(self) -> str:
        return f"http://127.0.0.1:{self._ports['router_ops']}"

    def start(self) -> None:
        for worker in self.workers:
            worker.start()
        for worker in self.workers:
            worker.wait_ready()
        specs = [flag for worker in self.workers for flag in ("--worker", worker.spec)]
        self.router = self._serve("router", *specs)
        wait_until("the router has all workers", lambda: self.ready() == len(self.workers))
        self.api = self._serve("api", "--router", f"http://127.0.0.1:{self._ports['router']}")
        wait_until("llm-api is ready", partial(self._answers, self.api, self.api_ops))

    def _serve(self, name: str, *more: str) -> Command:
        ports = ("--port", str(self._ports[name]), "--ops-port", str(self._ports[f"{name}_ops"]))
        return self.command(name, name, *ports, "--host", "127.0.0.1", "--config", str(self._config), *more)

    def client(self) -> Client:
        return Client(("127.0.0.1", self._ports["api"]), self.key)

    def states(self) -> dict[str, str]:
        """Of the workers, as the router sees them."""
        try:
            pools = get(self.router_ops, "/debug/pools")["pools"]
        except OSError:
            return {}
        return {worker["name"]: worker["state"] for pool in pools for worker in pool["workers"]}

    def ready(self) -> int:
        return sum(state == "ready" for state in self.states().values())

    def wait_state(self, worker: Worker, *states: str) -> None:
        wait_until(f"the router sees {worker.name} {states}", lambda: self.states().get(worker.name) in states)

    def wait_idle(self) -> None:
        wait_until("the router has nothing in flight", lambda: self.in_flight() == 0)
        wait_until("llm-api has nothing in flight", lambda: self.samples("api").total("llm_api_in_flight") == 0)

    def in_flight(self) -> int:
        pools = get(self.router_ops, "/debug/pools")["pools"]
        return sum(pool["queued"] + sum(worker["in_flight"] for worker in pool["workers"]) for pool in pools)

    def samples(self, name: str) -> Samples:
        """What ``api`` or ``router`` tell in ``/metrics``."""
        return Samples(self.api_ops if name == "api" else self.router_ops)

    def router_metric(self, name: str, **labels: str) -> float:
        return self.samples("router").total(name, **labels)

    def end(self) -> None:
        super().end()
        for worker in self.workers:
            worker.end()

    def _answers(self, command: Command, ops: str) -> bool:
        assert not command.ended, self.logs()
        try:
            with Call(ops, "GET", "/readyz") as call:
                return call.status == 200
        except OSError:
            time.sleep(0.05)
            return False

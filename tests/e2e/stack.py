"""The platform as people start it: `headrace …` in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from openai import OpenAI

from headrace.local.runfile import Run, RunningChild, read
from headrace.store.secret import new_id, new_key
from tests.e2e.calls import Call, get
from tests.e2e.metrics import Samples
from tests.e2e.patience import PATIENCE, wait_until

CHAT_MODEL = "smollm2-135m"
EMBEDDING_MODEL = "all-minilm-l6-v2"
CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"

API, WEB, ROUTER, CPU, BERT = "llm-api", "llm-web", "router", "cpu-worker", "bert-worker"
ENGINE = "engine"
"""The process inside cpu-worker that computes."""
_ENGINE_MODULE = "headrace.workers.cpu.child"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Command:
    """`headrace …`; what it prints goes to a file. ``end`` must be called."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        home: Path,
        log: Path,
        more: Mapping[str, str],
        program: Sequence[str] = ("headrace",),
    ) -> None:
        """``more``: environment variables besides those of this process, of which no setting of Headrace is kept.

        ``program``: the module that is run, and its own arguments.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**kept, **more, "HEADRACE_HOME": str(home)},
            )
        self._family: set[psutil.Process] = set()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def family(self) -> set[psutil.Process]:
        """The process and all that it started; those that ended stay in, so that nobody is forgotten."""
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.pid)
            self._family |= {parent, *parent.children(recursive=True)}
        return self._family

    def survivors(self) -> list[psutil.Process]:
        return [process for process in self._family if _runs(process)]

    def signal(self, number: signal.Signals) -> None:
        self.family()
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        """Stop it, and by force what is left of its family."""
        if not self.ended:
            self.signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait()
        for process in self.survivors():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


class Home:
    """A HEADRACE_HOME of a test: its key, its logs, the commands that run in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = new_key(new_id())
        self._commands: list[Command] = []

    def command(self, name: str, *arguments: str, program: Sequence[str] = ("headrace",)) -> Command:
        """Start `headrace ARGUMENTS`; ``name`` is its log's."""
        log = self.path / "output" / f"{name}.log"
        more = {"HEADRACE_BOOTSTRAP_KEY": self.key}
        command = Command(arguments, home=self.path, log=log, more=more, program=program)
        self._commands.append(command)
        return command

    def logs(self) -> dict[str, str]:
        files = [*self.path.glob("output/*.log"), *self.path.glob("logs/*.log*")]
        return {file.name: file.read_text(errors="replace") for file in sorted(files)}

    def check_logs(self, foreign: Collection[str] = ()) -> None:
        """What no log may ever hold. In those that are ``foreign``, programs of others tell their own tracebacks."""
        secret = self.key.rpartition("-")[2]
        for name, text in self.logs().items():
            assert secret not in text, f"{name} holds the key"
            assert name in foreign or "Traceback" not in text, f"{name} holds a traceback"

    def end(self) -> None:
        while self._commands:
            self._commands.pop().end()


class Stack(Home):
    """`headrace up` and what it runs."""

    up: Command

    def __init__(self, path: Path, models: Path, config: Mapping[str, object] | None = None) -> None:
        super().__init__(path)
        self._killed: dict[str, int | None] = {}
        self.models = models
        self._config = path / "headrace.yaml"
        self._config.write_text(json.dumps(config or {}))

    def start(self, patience: float = PATIENCE) -> None:
        flags = ("--port", "0", "--web-port", "0", "--models", str(self.models), "--config", str(self._config))
        self.up = self.command("up", "up", *flags)
        self.wait_ready(patience)

    @property
    def run(self) -> Run:
        found = read(self.path)
        assert found is not None, "headrace up does not run"
        return found

    def wait_ready(self, patience: float = PATIENCE) -> None:
        def look() -> bool:
            assert not self.up.ended, "headrace up ended"
            run = read(self.path)
            return run is not None and run.ready

        wait_until("all services are ready", look, patience)
        self.up.family()

    def child(self, name: str) -> RunningChild:
        return self.run.children[name]

    def client(self, door: str = API, key: str = "") -> OpenAI:
        """The SDK as it is, but without its retries: each failure is to be seen."""
        url = f"{self.child(door).url}/v1"
        return OpenAI(base_url=url, api_key=key or self.key, max_retries=0, timeout=PATIENCE)

    def call(self, path: str, body: object = None, *, door: str = API, **headers: str) -> Call:
        """POST ``body``, or GET where there is none, with the key; bytes go out as they are, all else as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.key}", **{name.replace("_", "-"): headers[name] for name in headers}}
        return Call(self.child(door).url, "GET" if data is None else "POST", path, data, headers)

    def samples(self, name: str) -> Samples:
        return Samples(self.child(name).ops)

    def running(self, worker: str = CPU) -> int:
        """Requests (of cpu-worker: sequences) that the worker's engine has, and those that wait for it."""
        load = get(self.child(worker).ops, "/load")
        return int(load["running"]) + int(load["waiting"])

    def wait_running(self, count: int, worker: str = CPU) -> None:
        wait_until(f"{worker} has {count} sequences", lambda: self.running(worker) == count)

    def wait_queued(self, worker: str) -> None:
        """Wait until the worker has tokens that it does not work on yet."""
        wait_until(f"{worker} has a queue", lambda: get(self.child(worker).ops, "/load")["queued_tokens"] > 0)

    def wait_idle(self) -> None:
        """Wait until no service believes that there is work."""
        self.wait_running(0)
        self.wait_running(0, BERT)
        wait_until("the router has nothing in flight", lambda: self._in_flight() == 0)
        wait_until("llm-api has nothing in flight", lambda: self.samples(API).total("llm_api_in_flight") == 0)

    def _in_flight(self) -> int:
        pools = get(self.child(ROUTER).ops, "/debug/pools")["pools"]
        return sum(pool["queued"] + sum(worker["in_flight"] for worker in pool["workers"]) for pool in pools)

    def pid(self, name: str) -> int | None:
        """The process behind ``name``, which may be ``ENGINE``; None while there is none."""
        pid = self.child(CPU if name == ENGINE else name).pid
        if name != ENGINE or pid is None:
            return pid
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(pid).children()  # its guard is another
            return next((child.pid for child in children if _ENGINE_MODULE in child.cmdline()), None)
        return None

    def kill(self, *names: str) -> None:
        """kill -9; the processes must come back: ``wait_back`` waits for that."""
        self._killed = {name: wait_until(f"{name} runs", partial(self.pid, name)) for name in names}
        for pid in self._killed.values():
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

    def wait_back(self) -> None:
        for name, before in self._killed.items():
            wait_until(f"{name} is back", partial(self._has_other_pid, name, before))
        wait_until("cpu-worker is ready", lambda: self._ready(CPU))
        self.wait_ready()

    def _has_other_pid(self, name: str, before: int | None) -> bool:
        return self.pid(name) not in (None, before)

    def _ready(self, name: str) -> bool:
        try:
            with Call(self.child(name).ops, "GET", "/readyz") as call:
                return call.status == 200
        except OSError:
            return False

    def access(self, client_id: str) -> list[Any]:
        """llm-api's lines of the requests that said ``x-request-id: client_id``; waits for the first one."""

        def look() -> list[Any]:
            lines = self.logs()[f"{API}.log"].rpartition("\n")[0].splitlines()
            return [line for line in map(json.loads, lines) if line.get("client_id") == client_id]

        return wait_until(f"the access log has a line for {client_id}", look)

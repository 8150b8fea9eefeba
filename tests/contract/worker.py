"""A worker as its neighbours meet it: a process with two ports."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.kinds import RUNNING, STALL, WAITING, WEDGE, Kind

SECRET = "contract-secret"
PATIENCE = 240.0
"""Seconds; generous, since other programs may keep this machine busy."""
CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
BATCH = 150
"""Inputs of a slow call of embeddings."""


@dataclass
class Reply:
    """A whole answer; ``cut`` is whether the connection ended before it did."""

    status: int
    body: bytes
    kind: str = ""
    cut: bool = False

    @property
    def broken(self) -> bool:
        """It was cut, or ended by an error event that is the engine's fault, as vLLM does."""
        return self.cut or b'"code": 500' in self.body.rpartition(b'data: {"error"')[2]

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The decoded events of a stream, which must end with [DONE]."""
        assert self.status == 200, self.body
        assert self.kind.startswith("text/event-stream"), self.kind
        text = self.body.decode()
        assert text.endswith("data: [DONE]\n\n"), text[-200:]
        lines = [line for line in text.split("\n\n")[:-2] if not line.startswith(":")]
        assert all(line.startswith("data: ") for line in lines), text[:500]
        return [json.loads(line.removeprefix("data: ")) for line in lines]


@dataclass
class Slow:
    """A request that takes a while, in a thread of its own."""

    connection: http.client.HTTPConnection
    thread: threading.Thread
    begun: threading.Event = field(default_factory=threading.Event)
    """Its first byte is there."""
    reply: Reply | None = None

    def leave(self) -> None:
        """Go away."""
        with contextlib.suppress(OSError, AttributeError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(PATIENCE)

    def finish(self) -> Reply:
        self.thread.join(PATIENCE)
        assert self.reply is not None, "the request did not end"
        return self.reply


class LiveWorker:
    """Starts a worker as people do, and asks it over HTTP. ``end`` must be called."""

    def __init__(self, kind: Kind, scratch: Path) -> None:
        self.kind = kind
        self.name = f"{kind.name}-model"
        self.starting: list[tuple[int, str]] = []
        """What /readyz said until it said ok, without repetitions."""
        self.log = scratch / f"{kind.name}.log"
        self._scratch = scratch
        self._process: subprocess.Popen[bytes] | None = None
        self.port = self.ops = 0

    # ---- its life ----

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        self.port, self.ops = free_port(), free_port()
        settings = {
            "model": str(self.kind.model),
            "name": self.name,
            "port": self.port,
            "ops_port": self.ops,
            "host": "127.0.0.1",
            "hop_secret": SECRET,
            "max_running": RUNNING,
            "max_waiting": WAITING,
            "stall_timeout": STALL,
            "wedge_timeout": WEDGE,
            "drain_timeout": PATIENCE,
            **self.kind.settings,
        }
        if self.kind.name == "bert":
            del settings["max_running"]
        file = self._scratch / f"{self.kind.name}.yaml"
        file.write_text(yaml.safe_dump({self.kind.name: settings}))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        self.starting = []
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "headrace", "worker", self.kind.name, "--config", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**kept, **self.kind.variables},
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait_ended(self) -> int:
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def end(self) -> None:
        """Kill whatever is left of it."""
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            family = [self.process, *self.process.children(recursive=True)]
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait()
        self._process = None

    def wait_until(self, what: str, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (found := look()):
            if time.monotonic() > deadline:
                pytest.fail(f"waited {PATIENCE:.0f} s in vain until {what}; its log ends with:\n{self.last_words()}")
            time.sleep(0.1)
        return found

    def wait_ready(self) -> None:
        self.wait_until(f"{self.kind.name} is ready", self._is_ready)

    def wait_idle(self) -> None:
        self.wait_until(f"{self.kind.name} has nothing to do", lambda: self.busy() == 0)

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def _is_ready(self) -> bool:
        if not self.running:
            pytest.fail(f"{self.kind.name} ended; its log ends with:\n{self.last_words()}")
        state = self.readyz()
        if not self.starting or self.starting[-1] != state:
            self.starting.append(state)
        return state[0] == 200

    # ---- its ops port ----

    def readyz(self) -> tuple[int, str]:
        """0 where it does not listen yet."""
        try:
            reply = self.get("/readyz", ops=True)
        except OSError:
            return 0, "not listening"
        return reply.status, reply.body.decode().strip()

    def load(self) -> Any:
        reply = self.get("/load", ops=True)
        assert reply.status == 200, reply.body
        return reply.json()

    def busy(self) -> int:
        load = self.load()
        return int(load["running"]) + int(load["waiting"])

    def metrics(self) -> dict[str, float]:
        """Every sample without labels of ``/metrics``, which must be Prometheus text."""
        reply = self.get("/metrics", ops=True)
        assert reply.status == 200
        families = list(text_string_to_metric_families(reply.body.decode()))
        return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}

    # ---- its traffic port ----

    def get(self, path: str, *, ops: bool = False, secret: str = SECRET) -> Reply:
        return self._ask("GET", path, b"", secret, self.ops if ops else self.port)

    def post(self, path: str, body: Any, *, ops: bool = False, secret: str = SECRET) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._ask("POST", path, data, secret, self.ops if ops else self.port)

    def generation(self, tokens: int = 8, **more: Any) -> tuple[str, dict[str, Any]]:
        """A request that succeeds: its path and body."""
        if not self.kind.text:
            return EMBEDDINGS, {"model": self.name, "input": ["A short text."]}
        body = {"model": self.name, "messages": [{"role": "user", "content": "Tell me a story."}]}
        return CHAT, {**body, "max_tokens": tokens, "temperature": 0, **more}

    def slow(self, tokens: int = 300) -> Slow:
        """Send a request that takes seconds; as a stream where there are streams."""
        path, body = self.generation(tokens, stream=True, ignore_eos=True)
        if not self.kind.text:
            body["input"] = ["word " * 200] * BATCH
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("POST", path, json.dumps(body), _headers(SECRET))
        slow = Slow(connection, threading.Thread(target=lambda: _read(slow)))
        slow.thread.start()
        return slow

    @contextlib.contextmanager
    def under_load(self, count: int, tokens: int = 300) -> Iterator[list[Slow]]:
        """``count`` slow requests that the worker knows of; whoever is left goes away at the end."""
        requests = [self.slow(tokens) for _ in range(count)]
        try:
            self.wait_until("the worker tells of its work", lambda: self.busy() >= count)
            yield requests
        finally:
            for request in requests:
                request.leave()

    def _ask(self, method: str, path: str, body: bytes, secret: str, port: int) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, _headers(secret))
            response = connection.getresponse()
            return Reply(response.status, response.read(), response.headers.get("content-type", ""))


def _headers(secret: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    return {**headers, "Authorization": f"Bearer {secret}"} if secret else headers


def _read(slow: Slow) -> None:
    status, kind, pieces = 0, "", []
    try:
        response = slow.connection.getresponse()
        status, kind = response.status, response.headers.get("content-type", "")
        while piece := response.read1(65536):
            pieces.append(piece)
            slow.begun.set()
        # read1 takes a connection that ends inside a chunked body for a whole answer
        cut = response.chunked is not False and b"data: [DONE]" not in b"".join(pieces[-2:])
        slow.reply = Reply(status, b"".join(pieces), kind, cut)
    except (OSError, http.client.HTTPException):
        slow.reply = Reply(status, b"".join(pieces), kind, cut=True)
    finally:
        slow.connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

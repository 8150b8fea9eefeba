"""The demo model, and one real worker for the whole session."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.config import CpuWorkerSettings, load
from headrace.wire.server import Server
from headrace.workers.contract import Load
from headrace.workers.cpu.app import CpuWorker, build

NAME = "smollm2-135m"
CONTEXT = 71 * 32
"""What 100 MiB of KV cache hold; shorter than the model's, so that tests reach its end sooner."""
PATIENCE = 120.0


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """``HEADRACE_TEST_MODELS`` is a folder of model folders, as ``headrace models pull`` lays them out."""
    home = os.environ.get("HEADRACE_TEST_MODELS")
    models = Path(home) if home else Path(__file__).parents[3] / ".headrace" / "models"
    folder = models / NAME
    if not next(folder.glob("*.gguf"), None):
        pytest.fail(f"{folder} has no model: run `HEADRACE_HOME=.headrace headrace models pull demo`")
    return folder


class Reply:
    """An answer, whole."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json()["error"]


class LiveWorker:
    """A worker on an event loop of its own, as a client meets it."""

    def __init__(self, settings: CpuWorkerSettings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: Server
        self.worker: CpuWorker
        self.port = 0

    def start(self) -> None:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(PATIENCE)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> int:
        self.worker = build(self._settings)
        await self.worker.start()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self._server = Server(self.worker.routes, self.worker.limits)
        await self._server.start(listener)
        port: int = listener.getsockname()[1]
        return port

    async def _stop(self) -> None:
        await self._server.close()
        await self.worker.close()

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> http.client.HTTPConnection:
        """A connection on which the request is out and the answer to come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request(method, path, body, headers)
        return connection

    def get(self, path: str) -> Any:
        with closing(self.send("GET", path, b"", {})) as connection:
            return Reply(connection.getresponse()).json()

    def post(self, path: str, /, headers: dict[str, str] | None = None, **body: Any) -> Reply:
        return self.post_raw(path, json.dumps(body).encode(), headers or {})

    def post_raw(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Reply:
        with closing(self.send("POST", path, body, headers or {})) as connection:
            return Reply(connection.getresponse())

    def ok(self, path: str, /, **body: Any) -> Any:
        reply = self.post(path, **body)
        assert reply.status == 200, reply.body
        return reply.json()

    def open(self, path: str, /, **body: Any) -> http.client.HTTPConnection:
        """A stream that was asked for; close it to go away."""
        return self.send("POST", path, json.dumps({**body, "stream": True}).encode(), {})

    def events(self, path: str, /, **body: Any) -> list[Any]:
        """The decoded events of a stream, which must end with [DONE]."""
        with closing(self.open(path, **body)) as connection:
            response = connection.getresponse()
            data = response.read().decode()
            assert response.status == 200, data
            assert response.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert data.endswith("\n\ndata: [DONE]\n\n")
        events = data.split("\n\n")[:-2]
        assert all(event.startswith("data: ") for event in events)
        return [json.loads(event.removeprefix("data: ")) for event in events]

    def wait_until(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited in vain until {what}")
            time.sleep(0.02)

    def wait_idle(self) -> None:
        self.wait_until("nothing runs", lambda: self.load().running + self.load().waiting == 0)

    def load(self) -> Load:
        return msgspec.json.decode(self.worker.load(), type=Load)


def settings(**changes: Any) -> CpuWorkerSettings:
    return load(CpuWorkerSettings, flags=changes, env=False)


@pytest.fixture(scope="session")
def live(model_folder: Path) -> Iterator[LiveWorker]:
    worker = LiveWorker(settings(model=model_folder, max_running=8, max_waiting=8, kv_cache_mib=100))
    worker.start()
    yield worker
    worker.stop()

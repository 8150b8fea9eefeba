"""The demo model, a tiny one, and workers over both."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headrace.config import BertWorkerSettings, load
from headrace.wire.server import Server
from headrace.workers.bert import folder
from headrace.workers.bert.app import BertWorker
from headrace.workers.bert.backend import Backend
from headrace.workers.bert.openvino import OpenVinoBackend
from tests.workers.bert.harness import PATIENCE, Client, FakeBackend, write_folder

NAME = "all-minilm-l6-v2"

Start = Callable[..., Awaitable[tuple[BertWorker, Client]]]


@pytest.fixture(scope="session")
def minilm() -> Path:
    """``HEADRACE_TEST_MODELS`` is a folder of model folders, as ``headrace models pull`` lays them out."""
    home = os.environ.get("HEADRACE_TEST_MODELS")
    models = Path(home) if home else Path(__file__).parents[3] / ".headrace" / "models"
    path = models / NAME
    if not (path / "config.json").is_file():
        pytest.fail(f"{path} has no model: run `HEADRACE_HOME=.headrace headrace models pull demo`")
    return path


@pytest.fixture(scope="session")
def minilm_backend(minilm: Path) -> OpenVinoBackend:
    return OpenVinoBackend(folder.read(minilm))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "tiny")


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a worker over a backend, on a port of its own."""
    async with AsyncExitStack() as stack:

        async def begin(path: Path, backend: Backend, **changes: Any) -> tuple[BertWorker, Client]:
            settings = load(BertWorkerSettings, flags={"model": path, **changes}, env=False)
            worker = BertWorker(settings, lambda model, own: backend)
            stack.push_async_callback(worker.close)
            async with asyncio.timeout(PATIENCE):
                await worker.start()
            listener = socket.create_server(("127.0.0.1", 0))
            listener.setblocking(False)
            server = Server(worker.routes, worker.limits)
            await server.start(listener)
            stack.push_async_callback(server.close)
            return worker, Client(listener.getsockname()[1])

        yield begin


@pytest_asyncio.fixture
async def served(start: Start, minilm: Path, minilm_backend: OpenVinoBackend) -> tuple[BertWorker, Client]:
    """The demo model behind HTTP."""
    return await start(minilm, minilm_backend)


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds; fails after a long time."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)

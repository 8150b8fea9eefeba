"""Several processes of one router, as they are started."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Command, free_port
from tests.fakes import answer, raw
from tests.router.conftest import StartWorker, request
from tests.wire.peer import Peer, Reply

READY = 60.0


class Processes:
    """``headrace router --processes 2``."""

    def __init__(self, path: Path, *specs: str) -> None:
        self.port, self.ops_port = free_port(), free_port()
        flags = [flag for spec in specs for flag in ("--worker", spec)]
        ports = ["--host", "127.0.0.1", "--port", str(self.port), "--ops-port", str(self.ops_port)]
        arguments = ["router", "--processes", "2", *ports, *flags]
        self.command = Command(arguments, home=path, log=path / "router.log", more={})

    async def send(self, body: bytes) -> Reply:
        """Over a connection of its own: the system says which process gets it."""
        return await _ask(self.port, request(body))

    async def ready(self) -> None:
        async with asyncio.timeout(READY):
            while not await self._is_ready():
                await asyncio.sleep(0.05)

    async def _is_ready(self) -> bool:
        try:
            reply = await _ask(self.ops_port, b"GET /readyz HTTP/1.1\r\nhost: router\r\n\r\n")
        except OSError:
            return False
        return reply.status == 200


async def _ask(port: int, sent: bytes) -> Reply:
    peer = await Peer.connect(("127.0.0.1", port))
    try:
        await peer.send(sent)
        return await peer.reply()
    finally:
        peer.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[list[Processes]]:
    started: list[Processes] = []
    yield started
    for one in started:
        one.command.end()


async def test_what_killed_two_workers_gets_at_none_through_another_process(
    processes: list[Processes], start_worker: StartWorker, tmp_path: Path
) -> None:
    workers = [await start_worker() for _ in range(3)]
    router = Processes(tmp_path, *(worker.spec for worker in workers))
    processes.append(router)
    await router.ready()
    for worker in workers:
        worker.default = raw(b"", "reset")
    replies = [await router.send(b'"poison"') for _ in range(40)]
    assert {(reply.status, json.loads(reply.body)["error"]["code"]) for reply in replies} == {
        (500, "request_crashes_worker")
    }
    assert sum(len(worker.requests) for worker in workers) == 2
    for worker in workers:
        worker.default = answer()
    assert (await router.send(b'"harmless"')).status == 200

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from headrace.config import CpuWorkerSettings, load
from headrace.errors import Overloaded
from headrace.wire.client import Origin, fetch
from headrace.wire.exchange import Exchange
from headrace.wire.server import Server
from headrace.workers.contract import Load, Progress, ServedModel, Worker, new_epoch


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Echo(Worker):
    """The least worker: answers ``GET /hello``."""

    name = "echo-worker"

    def __init__(self, progress: Progress | None = None, **settings: Any) -> None:
        super().__init__(load(CpuWorkerSettings, flags={"model": "models/echo", **settings}, env=False), progress)
        self.route("GET", "/hello", self._hello)

    async def start(self) -> None:
        self.warm = True

    async def close(self) -> None:
        self.warm = False

    def snapshot(self) -> Load:
        model = ServedModel(self.model, 128)
        return Load(1, 2, 3, (model,), self.epoch, draining=self.draining, iterations=self.progress.iterations)

    async def _hello(self, exchange: Exchange) -> None:
        self.admit()
        exchange.respond(200, [], b"hello")


@asynccontextmanager
async def serving(worker: Worker) -> AsyncIterator[Origin]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    server = Server(worker.routes, worker.limits)
    await server.start(listener)
    origin = Origin(f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
        yield origin
    finally:
        origin.close()
        await server.close()


async def test_load_document_has_every_field_of_the_contract() -> None:
    worker = Echo(name="m")
    document = msgspec.json.decode(worker.load())
    assert document == {
        "running": 1,
        "waiting": 2,
        "max_running": 3,
        "queued_tokens": 0,
        "kv_used": 0,
        "kv_total": 0,
        "block_size": 0,
        "iterations": 0,
        "prompt_tokens": 0,
        "cached_tokens": 0,
        "models": [{"name": "m", "adapters": [], "context": 128, "modality": "text", "inputs": ["text"]}],
        "draining": False,
        "epoch": worker.epoch,
    }


def test_load_is_read_with_fields_missing_and_fields_unknown() -> None:
    body = b'{"running":0,"waiting":0,"max_running":1,"models":[{"name":"m","context":8}],"epoch":"e","new":1}'
    read = msgspec.json.decode(body, type=Load)
    assert read.models[0].modality == "text"
    assert read.kv_total == 0


def test_no_two_lives_share_an_epoch() -> None:
    assert len({new_epoch() for _ in range(1000)}) == 1000


def test_name_is_the_folder_s_unless_one_is_set() -> None:
    assert Echo().model == "echo"
    assert Echo(name="other").model == "other"


def test_progress_without_work_never_stalls() -> None:
    clock = Clock()
    progress = Progress(clock, timeout=30)
    clock.now += 1000
    assert progress.stalled() == 0
    progress.begin()
    clock.now += 29
    assert progress.stalled() == 0


def test_progress_stalls_when_iterations_stop() -> None:
    clock = Clock()
    progress = Progress(clock, timeout=30)
    progress.begin()
    clock.now += 20
    progress.step()
    clock.now += 29
    assert progress.stalled() == 0
    clock.now += 2
    assert progress.stalled() == 31
    assert progress.iterations == 1


def test_progress_forgets_the_stall_with_the_work() -> None:
    clock = Clock()
    progress = Progress(clock, timeout=30)
    progress.begin()
    clock.now += 31
    assert progress.stalled() > 0
    progress.end()
    assert progress.stalled() == 0


def test_work_that_joins_does_not_hide_a_stall() -> None:
    clock = Clock()
    progress = Progress(clock, timeout=30)
    progress.begin()
    clock.now += 20
    progress.begin()
    clock.now += 11
    assert progress.stalled() == 31


async def test_unready_says_why() -> None:
    clock = Clock()
    worker = Echo(Progress(clock, timeout=30))
    assert worker.unready() == "loading the model"
    await worker.start()
    assert worker.unready() is None
    worker.progress.begin()
    clock.now += 42
    assert worker.unready() == "stalled: work is dispatched, but no iteration for 42 s"
    await worker.drain()
    assert worker.unready() == "draining"
    worker.failure = "the disk is gone"
    assert worker.unready() == "the disk is gone"


async def test_admit_refuses_with_retry_after() -> None:
    worker = Echo()
    with pytest.raises(Overloaded) as loading:
        worker.admit()
    assert loading.value.code == "not_ready"
    await worker.start()
    worker.admit()
    await worker.drain()
    with pytest.raises(Overloaded) as draining:
        worker.admit()
    assert (draining.value.code, draining.value.retry_after) == ("draining", 1)


async def test_without_a_secret_everybody_may_in() -> None:
    worker = Echo()
    await worker.start()
    async with serving(worker) as origin:
        assert (await fetch(origin, "GET", "/hello")).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"x-headrace-secret", b"new")], 200),
        ([(b"x-headrace-secret", b"old")], 200),
        ([(b"authorization", b"Bearer new")], 200),
        ([(b"authorization", b"bearer  old")], 200),
        ([], 401),
        ([(b"x-headrace-secret", b"wrong")], 401),
        ([(b"x-headrace-secret", b"")], 401),
        ([(b"authorization", b"Basic new")], 401),
        ([(b"authorization", b"Bearer")], 401),
        ([(b"x-headrace-secret", b"wrong"), (b"authorization", b"Bearer new")], 401),
    ],
)
async def test_hop_secret(headers: list[tuple[bytes, bytes]], status: int) -> None:
    worker = Echo(hop_secret="new", hop_secret_previous="old")
    await worker.start()
    async with serving(worker) as origin:
        answer = await fetch(origin, "GET", "/hello", headers=headers)
    assert answer.status == status


async def test_drained_worker_finishes_what_runs_and_takes_no_more() -> None:
    worker = Echo()
    await worker.start()
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        worker.admit()
        entered.set()
        await release.wait()
        exchange.respond(200, [], b"done")

    worker.route("GET", "/slow", slow)
    async with serving(worker) as origin:
        running = asyncio.create_task(fetch(origin, "GET", "/slow"))
        await entered.wait()
        await worker.drain()
        refused = await fetch(origin, "GET", "/hello")
        release.set()
        assert (await running).body == b"done"
    assert refused.status == 503
    assert refused.head.header(b"retry-after") == b"1"

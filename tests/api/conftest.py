"""The real llm-api in front of scripted routers."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis import Redis
from sqlalchemy import insert, select, update

from headrace.api.app import ApiService
from headrace.config import ApiSettings, load
from headrace.store.keys import ADMIN, INFERENCE, KeyStore
from headrace.store.schema import KeyRow, StateRow, TenantRow
from headrace.telemetry.logs import LineWriter
from tests.api.keyrings import home_of_keys  # noqa: F401  the fixture "home"
from tests.fakes import FakeRouter
from tests.running import Running
from tests.wire.peer import PATIENCE, Peer, Reply, wait_for

CHAT = "/v1/chat/completions"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the services run on."""
    return {"uvloop": uvloop.new_event_loop}


class Api(Running[ApiService]):
    """An ``ApiService`` that serves, and its clients."""

    def __init__(self, service: ApiService, keys: Mapping[str, str], log: Path) -> None:
        super().__init__(service)
        self.keys = keys
        """Their texts, by what they are: user, admin, limited (to the model m), expired, revoked."""
        self.log = log

    async def send(
        self, body: object = None, *, path: str = CHAT, method: str = "POST", key: str = "user", **headers: str
    ) -> Peer:
        """A new client that has sent a request, by default a short chat; ``key=""`` sends none."""
        data = body if isinstance(body, bytes) else json.dumps(chat() if body is None else body).encode()
        fields = {"host": "api", "content-length": str(len(data)) if method == "POST" else ""}
        if key:
            fields["authorization"] = f"Bearer {self.keys.get(key, key)}"
        fields.update({name.replace("_", "-"): value for name, value in headers.items()})
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
        peer = await self.dial()
        await peer.send(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + (data if method == "POST" else b""))
        return peer

    async def post(self, body: object = None, **options: str) -> Reply:
        return await (await self.send(body, **options)).reply()

    async def get(self, path: str, **options: str) -> Reply:
        return await (await self.send(b"", path=path, method="GET", **options)).reply()

    async def look(self) -> None:
        """See the routers as they are now."""
        await self.service._fleet._look()

    async def quiet(self) -> None:
        """Wait until every request is counted and logged."""
        await wait_for(lambda: self.metric("llm_api_in_flight") == 0, "requests in flight")

    async def records(self, count: int) -> list[dict[str, Any]]:
        """The first ``count`` lines of the access log."""
        deadline = time.monotonic() + PATIENCE
        while len(lines := self._lines()) < count:
            assert time.monotonic() < deadline, lines
            await asyncio.sleep(0.02)
        return lines[:count]

    def _lines(self) -> list[dict[str, Any]]:
        whole, _, _ = self.log.read_bytes().rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    def metric(self, name: str, *labels: str) -> float:
        """A counter's or gauge's value, or how many observations a histogram has; 0 where there is no such child."""
        family = next(family for family in self.service.registry.snapshot() if family.name == name)
        values = next((child.values for child in family.children if child.labels == labels), [0.0])
        return sum(values[:-1]) if family.kind == "histogram" else values[0]


def chat(model: str = "m", **fields: Any) -> dict[str, Any]:
    """The smallest chat request, and more."""
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields}


def error(reply: Reply) -> dict[str, Any]:
    """The error object of an answer, whose shape is checked."""
    document = json.loads(reply.body)
    assert reply.headers["content-type"] == "application/json"
    assert list(document) == ["error"]
    assert set(document["error"]) == {"message", "type", "param", "code"}
    found: dict[str, Any] = document["error"]
    return found


StartApi = Callable[..., Awaitable[Api]]
StartRouter = Callable[..., Awaitable[FakeRouter]]


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A home with keys in it, and their texts; to be copied."""
    home = tmp_path_factory.mktemp("home")
    with closing(KeyStore.open(home)) as store:
        tenant = store.create_tenant("acme", actor="test").id

        def make(name: str, **options: Any) -> tuple[str, str]:
            key, text = store.create(tenant, name, actor="test", **options)
            return key.id, text

        made = {
            "user": make("user"),
            "admin": make("admin", scopes=(INFERENCE, ADMIN)),
            "limited": make("limited", models=["m"]),
            "expired": make("expired", expires_at=time.time() + 0.01),
            "revoked": make("revoked"),
        }
        store.revoke(made["revoked"][0], actor="test")
    return home, {name: text for name, (_, text) in made.items()}


def copy_keys(home: Path, url: str) -> None:
    """The installation's tenants and keys, in another database that has none yet."""
    with closing(KeyStore.open(home)) as here, closing(KeyStore.open(home, database=url)) as there:
        with here.database.read() as source:
            rows = {
                kind: [dict(row) for row in source.execute(select(kind.__table__)).mappings()]
                for kind in (TenantRow, KeyRow)
            }
        with there.database.write() as target:
            if target.scalars(select(KeyRow).limit(1)).first() is None:
                for kind, values in rows.items():
                    target.execute(insert(kind), values)
                target.execute(update(StateRow).values(revision=1, pepper=there.pepper.fingerprint))


@pytest.fixture
async def start_router() -> AsyncIterator[StartRouter]:
    """Start a scripted router; takes what ``FakeRouter`` takes."""
    routers: list[FakeRouter] = []

    async def start(*models: str, **options: Any) -> FakeRouter:
        router = FakeRouter(*models, **options)
        await router.start()
        routers.append(router)
        return router

    yield start
    for router in routers:
        await router.stop()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What starts llm-api runs on the embedded stores, and on PostgreSQL with Valkey; marked ``own_stores``, once."""
    if "stores" in metafunc.fixturenames and metafunc.definition.get_closest_marker("own_stores") is None:
        metafunc.parametrize("stores", ["embedded", "distributed"], indirect=True)


@pytest.fixture
def stores(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """llm-api's settings for the stores to test on."""
    if getattr(request, "param", "embedded") == "embedded":
        yield {}
        return
    valkey = request.getfixturevalue("valkey")
    with closing(Redis.from_url(valkey)) as redis:
        redis.flushall()  # the keys, and so the names of what is kept for them, are those of other tests
    with request.getfixturevalue("postgresql").fresh() as url:
        yield {"database": url, "redis": valkey}


@pytest.fixture
async def start_api(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    installation: tuple[Path, dict[str, str]],
    stores: dict[str, str],
) -> AsyncIterator[StartApi]:
    """Start llm-api in front of routers, given as fakes or as addresses."""
    home, keys = installation
    running: list[Api] = []
    files = ExitStack()

    async def start(*routers: FakeRouter | str, **given: Any) -> Api:
        settings = {**stores, **given}
        where = tmp_path / f"home{len(running)}"
        shutil.copytree(home, where)
        monkeypatch.setenv("HEADRACE_HOME", str(where))
        if "database" in settings:
            copy_keys(where, settings["database"])
        urls = [router if isinstance(router, str) else router.url for router in routers]
        log = tmp_path / f"access{len(running)}.jsonl"
        writer = LineWriter(files.enter_context(log.open("wb")).fileno())
        service = ApiService(load(ApiSettings, flags={"router": urls, **settings}, env=False), writer)
        api = Api(service, keys, log)
        await api.start()
        running.append(api)
        return api

    yield start
    with files:  # closed last: the services write to them until then
        for api in running:
            await api.close()

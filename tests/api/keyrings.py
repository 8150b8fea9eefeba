"""A store to make keys with, and keyrings that look at it, with a clock that is moved by hand."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from headrace.api.keys import Keyring
from headrace.errors import ApiError, Unauthorized
from headrace.store.database import Database
from headrace.store.keys import KeyStore
from headrace.store.secret import Pepper

PEPPER = "a pepper for the tests"
DAY = 86400.0


class Clock:
    """A clock that is moved by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Home:
    """One installation: a store to make keys with, and keyrings that look at it through handles of their own."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url
        self.clock = Clock(1_800_000_000.0)
        self.rings: list[tuple[Keyring, KeyStore]] = []
        self._broken = False
        database = Database(url)
        database.upgrade()
        self.store = KeyStore(database, Pepper(PEPPER), clock=self.clock)
        self.tenant = self.store.create_tenant("acme", actor="test").id

    def ring(
        self,
        *,
        store: KeyStore | None = None,
        pepper: str = PEPPER,
        interval: float = 3600.0,
        patience: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Keyring:
        store = store or KeyStore(Database(self.url), Pepper(pepper), clock=self.clock)
        path = self.path / "keys.snapshot"
        ring = Keyring(store, path, interval=interval, patience=patience, clock=self.clock, monotonic=monotonic)
        self.rings.append((ring, store))
        return ring

    async def started(self, *, interval: float = 3600.0) -> Keyring:
        ring = self.ring(interval=interval)
        await ring.start()
        return ring

    async def close(self) -> None:
        for ring, store in self.rings:
            await ring.close()
            store.close()
        if self._broken:
            self.repair_database()
        self.store.close()

    def key(self, **fields: Any) -> str:
        return self.store.create(self.tenant, "x", actor="test", **fields)[1]

    def break_database(self) -> None:
        self.run("ALTER TABLE key_state RENAME TO lost")
        self._broken = True

    def repair_database(self) -> None:
        self.run("ALTER TABLE lost RENAME TO key_state")
        self._broken = False

    def run(self, statement: str) -> None:
        with self.store.database.write() as session:
            session.execute(text(statement))


@pytest.fixture(name="home")
async def home_of_keys(tmp_path: Path, database_url: str) -> AsyncIterator[Home]:
    home = Home(tmp_path, database_url)
    yield home
    await home.close()


def bearer(key: str) -> dict[bytes, bytes]:
    return {b"host": b"x", b"authorization": b"Bearer " + key.encode()}


async def refusal(ring: Keyring, headers: dict[bytes, bytes]) -> str:
    with pytest.raises(Unauthorized) as caught:
        await ring.authenticate(headers)
    return caught.value.message


async def told(ring: Keyring, key: str) -> str:
    """What the owner of the key is told; nothing where it is let in."""
    try:
        await ring.authenticate(bearer(key))
    except ApiError as error:
        return error.message
    return ""

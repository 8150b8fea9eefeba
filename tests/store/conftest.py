from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.store.database import Database, default_url
from headrace.store.keys import KeyStore
from headrace.store.secret import Pepper


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pepper() -> Pepper:
    return Pepper("a pepper for the tests")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Each of the two kinds, with our tables."""
    database = Database(database_url)
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Database]:
    """SQLite alone."""
    database = Database(default_url(tmp_path))
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def store(database: Database, pepper: Pepper, clock: Clock) -> KeyStore:
    return KeyStore(database, pepper, clock=clock)

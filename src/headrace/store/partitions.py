"""PostgreSQL's partitions of the usage records: one for each day, made before it is needed and dropped as a whole."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from headrace.store.database import Database

_PREFIX = "usage_records_"
_LOCK = 0x55534147  # "USAG", PostgreSQL's advisory lock
_EPOCH = date(1970, 1, 1)


class Partitions:
    """Days are numbers since 1970. Every method blocks and may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[int] = set()

    def make(self, days: set[int]) -> None:
        missing = sorted(days - self._known)
        if not missing:
            return
        with self._database.write() as session:
            _lock(session)
            for day in missing:
                session.execute(
                    text(
                        f"CREATE TABLE IF NOT EXISTS {_name(day)} PARTITION OF usage_records"
                        f" FOR VALUES FROM ({day}) TO ({day + 1})"
                    )
                )
        self._known.update(missing)

    def drop(self, before: int) -> None:
        """All days before this one."""
        with self._database.write() as session:
            _lock(session)
            for name in _existing(session):
                day = number(datetime.strptime(name.removeprefix(_PREFIX), "%Y%m%d").date())
                if day < before:
                    session.execute(text(f"DROP TABLE IF EXISTS {name}"))
                    self._known.discard(day)


def number(day: date) -> int:
    """Days since 1970."""
    return (day - _EPOCH).days


def _name(day: int) -> str:
    return f"{_PREFIX}{date.fromordinal(_EPOCH.toordinal() + day):%Y%m%d}"


def _existing(session: Session) -> list[str]:
    query = text(
        "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
        " WHERE inhparent = CAST('usage_records' AS regclass)"
    )
    return [name for name in session.execute(query).scalars() if name.startswith(_PREFIX)]


def _lock(session: Session) -> None:
    """Replicas make and drop partitions one after another: two that make the same one at once would fail."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})

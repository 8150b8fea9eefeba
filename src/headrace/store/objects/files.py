"""Files, in pieces of 1 MiB: no row, and no answer of the database, is larger."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from headrace.errors import NotFound, TooLarge
from headrace.store.database import Database
from headrace.store.objects.schema import ChunkRow, FileRow

CHUNK = 1024 * 1024


class File(Struct, frozen=True):
    """What is known of a file. Times are seconds since 1970."""

    id: str
    tenant: str
    name: str
    purpose: str
    size: int
    created_at: float
    expires_at: float


class FileStore:
    """Every method blocks and may raise StoreError: call it in a thread."""

    def __init__(self, database: Database, *, quota: int, days: float, clock: Callable[[], float] = time.time) -> None:
        """``quota``: bytes that a tenant may have; ``days``: for how long a file is kept unless its owner says less."""
        self._database = database
        self._quota = quota
        self._seconds = days * 86_400
        self._clock = clock

    def add(
        self,
        tenant: str,
        name: str,
        purpose: str,
        pieces: Iterable[bytes | memoryview],
        *,
        seconds: float | None = None,
        counted: bool = True,
    ) -> File:
        """Store a file, whole or not at all.

        Raises TooLarge over the tenant's quota, where the file is ``counted`` against it.
        """
        now = self._clock()
        kept = self._seconds if seconds is None else min(seconds, self._seconds)
        row = FileRow(
            id=f"file-{secrets.token_urlsafe(18)}",
            tenant_id=tenant,
            name=name,
            purpose=purpose,
            size=0,
            created_at=now,
            expires_at=now + kept,
        )
        with self._database.write() as session:
            session.add(row)
            session.flush()
            room = self._quota - self._used(session, tenant)
            for number, chunk in enumerate(_chunks(pieces)):
                row.size += len(chunk)
                if counted and row.size > room:
                    raise TooLarge(
                        f"Your files may have {self._quota:,} bytes together, of which {max(0, room):,} are free; "
                        "delete some.",
                        code="file_quota_exceeded",
                    )
                session.add(ChunkRow(file_id=row.id, number=number, data=chunk))
                session.flush()
                session.expunge_all()  # the pieces need not stay in memory
                session.add(row)
            return _file(row)

    def get(self, tenant: str, file_id: str) -> File:
        """Raises NotFound."""
        with self._database.read() as session:
            return _file(self._find(session, tenant, file_id))

    def list(
        self, tenant: str, *, purpose: str | None, after: str | None, limit: int, newest_first: bool
    ) -> list[File]:
        """One page; ``after`` is the last id of the page before. Raises NotFound where it is no file."""
        order = (FileRow.created_at, FileRow.id)
        query = select(FileRow).where(FileRow.tenant_id == tenant, FileRow.expires_at > self._clock())
        if purpose is not None:
            query = query.where(FileRow.purpose == purpose)
        with self._database.read() as session:
            if after is not None:
                row = self._find(session, tenant, after)
                later = FileRow.created_at > row.created_at
                earlier = FileRow.created_at < row.created_at
                same = FileRow.created_at == row.created_at
                query = query.where(
                    earlier | (same & (FileRow.id < row.id)) if newest_first else later | (same & (FileRow.id > row.id))
                )
            query = query.order_by(*(column.desc() if newest_first else column for column in order)).limit(limit)
            return [_file(row) for row in session.scalars(query)]

    def read(self, file_id: str) -> Iterator[bytes]:
        """The pieces in order, one transaction each."""
        number = 0
        while True:
            with self._database.read() as session:
                chunk = session.get(ChunkRow, (file_id, number))
                if chunk is None:
                    return
                data = chunk.data
            yield data
            number += 1

    def delete(self, tenant: str, file_id: str) -> None:
        """Raises NotFound."""
        with self._database.write() as session:
            row = self._find(session, tenant, file_id)
            session.execute(delete(ChunkRow).where(ChunkRow.file_id == row.id))
            session.delete(row)

    def expire(self) -> None:
        """Forget what is over."""
        with self._database.write() as session:
            over = select(FileRow.id).where(FileRow.expires_at <= self._clock())
            session.execute(delete(ChunkRow).where(ChunkRow.file_id.in_(over)))
            session.execute(delete(FileRow).where(FileRow.expires_at <= self._clock()))

    def _find(self, session: Session, tenant: str, file_id: str) -> FileRow:
        row = session.get(FileRow, file_id)
        if row is None or row.tenant_id != tenant or row.expires_at <= self._clock():
            raise NotFound(f"There is no file {file_id[:100]!r}.", param="file_id", code="file_not_found")
        return row

    @staticmethod
    def _used(session: Session, tenant: str) -> int:
        query = select(func.coalesce(func.sum(FileRow.size), 0)).where(FileRow.tenant_id == tenant)
        return int(session.scalars(query).one())


def _chunks(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """``pieces`` cut anew, at ``CHUNK`` bytes."""
    buffer = bytearray()
    for piece in pieces:
        for start in range(0, len(piece), CHUNK):
            buffer += piece[start : start + CHUNK]
            if len(buffer) >= CHUNK:
                yield bytes(buffer[:CHUNK])
                del buffer[:CHUNK]
    if buffer:
        yield bytes(buffer)


def _file(row: FileRow) -> File:
    return File(row.id, row.tenant_id, row.name, row.purpose, row.size, row.created_at, row.expires_at)

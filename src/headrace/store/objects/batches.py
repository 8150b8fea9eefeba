"""Batches and what came of their lines. Who works on one holds a lease; a process that dies loses it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from headrace.errors import NotFound
from headrace.store.database import Database
from headrace.store.objects.schema import BatchRow, ResultRow

OPEN = ("validating", "in_progress", "finalizing", "cancelling")
"""States in which there is something to do."""
_PAGE = 200


class Batch(Struct):
    """One batch. Times are seconds since 1970."""

    id: str
    tenant: str
    key: str
    status: str
    endpoint: str
    input_file: str
    created_at: float
    expires_at: float
    output_file: str | None = None
    error_file: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    details: dict[str, Any] = {}


class Result(Struct, frozen=True):
    """What came of one line."""

    line: int
    ok: bool
    data: bytes
    """A line of the output or error file, without its end."""


class BatchStore:
    """Every method blocks and may raise StoreError: call it in a thread."""

    def __init__(self, database: Database, *, lease: float = 30.0, clock: Callable[[], float] = time.time) -> None:
        """``lease``: seconds for which a batch belongs to who took it."""
        self._database = database
        self._lease = lease
        self._clock = clock

    def add(
        self, tenant: str, key: str, endpoint: str, input_file: str, *, seconds: float, metadata: dict[str, str] | None
    ) -> Batch:
        now = self._clock()
        row = BatchRow(
            id=f"batch_{secrets.token_hex(16)}",
            tenant_id=tenant,
            key_id=key,
            status="validating",
            endpoint=endpoint,
            input_file=input_file,
            total=0,
            completed=0,
            failed=0,
            details={"metadata": metadata},
            created_at=now,
            expires_at=now + seconds,
            leased_until=0.0,
        )
        with self._database.write() as session:
            session.add(row)
            session.flush()
            return _batch(row)

    def get(self, tenant: str, batch_id: str) -> Batch:
        """Raises NotFound."""
        with self._database.read() as session:
            return _batch(_find(session, tenant, batch_id))

    def list(self, tenant: str, *, after: str | None, limit: int) -> list[Batch]:
        """One page, the newest first; ``after`` is the last id of the page before."""
        query = select(BatchRow).where(BatchRow.tenant_id == tenant)
        with self._database.read() as session:
            if after is not None:
                row = _find(session, tenant, after)
                query = query.where(
                    (BatchRow.created_at < row.created_at)
                    | ((BatchRow.created_at == row.created_at) & (BatchRow.id < row.id))
                )
            query = query.order_by(BatchRow.created_at.desc(), BatchRow.id.desc()).limit(limit)
            return [_batch(row) for row in session.scalars(query)]

    def cancel(self, tenant: str, batch_id: str) -> Batch:
        """Ask for its end; one that is over stays as it is. Raises NotFound."""
        with self._database.write() as session:
            row = _find(session, tenant, batch_id)
            if row.status in {"validating", "in_progress"}:
                _move(row, "cancelling", self._clock())
            return _batch(row)

    def take(self, worker: str) -> Batch | None:
        """Lease the oldest batch that nobody works on; in PostgreSQL without waiting for those who look, too."""
        now = self._clock()
        query = (
            select(BatchRow)
            .where(BatchRow.status.in_(OPEN), BatchRow.leased_until <= now)
            .order_by(BatchRow.created_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with self._database.write() as session:
            row = session.scalars(query).first()
            if row is None:
                return None
            row.leased_by, row.leased_until = worker, now + self._lease
            return _batch(row)

    def renew(self, worker: str, batch_id: str) -> str | None:
        """Keep the lease; the batch's status, or None where somebody else has it by now."""
        with self._database.write() as session:
            row = session.get(BatchRow, batch_id, with_for_update=True)
            if row is None or row.leased_by != worker:
                return None
            row.leased_until = self._clock() + self._lease
            return row.status

    def release(self, worker: str, batch_id: str) -> None:
        """Let somebody else go on at once."""
        with self._database.write() as session:
            row = session.get(BatchRow, batch_id, with_for_update=True)
            if row is not None and row.leased_by == worker:
                row.leased_by, row.leased_until = None, 0.0

    def move(self, worker: str, batch_id: str, status: str, **changes: Any) -> bool:
        """Go to another status, noting when; ``changes`` are columns, ``errors`` a detail. False: the lease is lost."""
        errors = changes.pop("errors", None)
        with self._database.write() as session:
            row = session.get(BatchRow, batch_id, with_for_update=True)
            if row is None or row.leased_by != worker:
                return False
            if status != row.status:
                _move(row, status, self._clock())
            if errors is not None:
                row.details = {**row.details, "errors": errors}
            for name, value in changes.items():
                setattr(row, name, value)
            return True

    def done(self, batch_id: str) -> set[int]:
        """The lines that have a result."""
        with self._database.read() as session:
            return set(session.scalars(select(ResultRow.line).where(ResultRow.batch_id == batch_id)))

    def note(self, worker: str, batch_id: str, results: Sequence[Result]) -> bool:
        """Keep results, each line's once, and count them. False: the lease is lost."""
        with self._database.write() as session:
            row = session.get(BatchRow, batch_id, with_for_update=True)
            if row is None or row.leased_by != worker:
                return False
            for one in results:
                if session.get(ResultRow, (batch_id, one.line)) is None:
                    session.add(ResultRow(batch_id=batch_id, line=one.line, ok=one.ok, data=one.data))
                    row.completed += one.ok
                    row.failed += not one.ok
            return True

    def results(self, batch_id: str, *, ok: bool) -> Iterator[bytes]:
        """The lines of the output file, or of the error file, in order."""
        last = -1
        while True:
            query = (
                select(ResultRow)
                .where(ResultRow.batch_id == batch_id, ResultRow.ok == ok, ResultRow.line > last)
                .order_by(ResultRow.line)
                .limit(_PAGE)
            )
            with self._database.read() as session:
                rows = [(row.line, row.data) for row in session.scalars(query)]
            if not rows:
                return
            for line, data in rows:
                last = line
                yield data + b"\n"

    def forget_results(self, batch_id: str) -> None:
        """They are in the files now."""
        with self._database.write() as session:
            session.execute(delete(ResultRow).where(ResultRow.batch_id == batch_id))


def _find(session: Session, tenant: str, batch_id: str) -> BatchRow:
    row = session.get(BatchRow, batch_id)
    if row is None or row.tenant_id != tenant:
        raise NotFound(f"There is no batch {batch_id[:100]!r}.", param="batch_id", code="batch_not_found")
    return row


def _move(row: BatchRow, status: str, now: float) -> None:
    row.status = status
    row.details = {**row.details, f"{status}_at": int(now)}


def _batch(row: BatchRow) -> Batch:
    return Batch(
        id=row.id,
        tenant=row.tenant_id,
        key=row.key_id,
        status=row.status,
        endpoint=row.endpoint,
        input_file=row.input_file,
        created_at=row.created_at,
        expires_at=row.expires_at,
        output_file=row.output_file,
        error_file=row.error_file,
        total=row.total,
        completed=row.completed,
        failed=row.failed,
        details=row.details,
    )

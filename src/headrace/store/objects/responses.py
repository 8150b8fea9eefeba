"""Stored responses."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from msgspec import Struct
from sqlalchemy import delete

from headrace.store.database import Database
from headrace.store.objects.schema import ResponseRow


class StoredResponse(Struct, frozen=True):
    """A response and the conversation that it ends; all three are JSON."""

    id: str
    tenant: str
    document: bytes
    """The response, as the client got it."""
    items: bytes
    """The input that it answered, as an array of the client's items."""
    messages: bytes
    """The whole conversation, answer included, as a chat completion's messages."""


class ResponseStore:
    """Every method blocks and may raise StoreError: call it in a thread."""

    def __init__(self, database: Database, days: float, *, clock: Callable[[], float] = time.time) -> None:
        """``days``: for how long a response is kept."""
        self._database = database
        self._seconds = days * 86_400
        self._clock = clock

    def add(self, responses: Sequence[StoredResponse]) -> None:
        expires = self._clock() + self._seconds
        with self._database.write() as session:
            for one in responses:
                other = session.get(ResponseRow, one.id)
                if other is not None and other.tenant_id != one.tenant:
                    continue  # an engine that gives ids twice must not show one tenant's answer to another
                session.merge(
                    ResponseRow(
                        id=one.id,
                        tenant_id=one.tenant,
                        document=one.document,
                        items=one.items,
                        messages=one.messages,
                        expires_at=expires,
                    )
                )

    def get(self, tenant: str, response_id: str) -> StoredResponse | None:
        """One of the tenant's; None where there is no such, or no longer."""
        with self._database.read() as session:
            row = session.get(ResponseRow, response_id)
            if row is None or row.tenant_id != tenant or row.expires_at <= self._clock():
                return None
            return StoredResponse(row.id, row.tenant_id, row.document, row.items, row.messages)

    def delete(self, tenant: str, response_id: str) -> bool:
        """False where there was none."""
        with self._database.write() as session:
            row = session.get(ResponseRow, response_id)
            if row is None or row.tenant_id != tenant:
                return False
            session.delete(row)
            return True

    def expire(self) -> None:
        """Forget what is over."""
        with self._database.write() as session:
            session.execute(delete(ResponseRow).where(ResponseRow.expires_at <= self._clock()))

"""The ledger of usage in the database: records in, once each; sums out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import astuple
from sqlalchemy import Select, TextClause, func, select, text
from sqlalchemy.exc import DataError, IntegrityError

from headrace.errors import InvalidRequest, StoreError
from headrace.store.database import Database
from headrace.store.limits.limiter import Spent
from headrace.store.partitions import Partitions, number
from headrace.store.schema import UsageDayRow

Group = Literal["tenant", "key", "model", "day", "month"]
GROUPS: tuple[Group, ...] = ("tenant", "key", "model", "day", "month")

DAY = 86_400
_BATCH = 1_000  # records of one transaction
_AHEAD = 1  # days whose partitions are made before they are needed
_MOST_GROUPS = 10_000
_COUNTS = ("requests", "failed", "prompt_tokens", "cached_tokens", "completion_tokens")
_INSERT = "INSERT INTO usage_records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ADD = """
INSERT INTO usage_daily VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    requests = requests + excluded.requests,
    failed = failed + excluded.failed,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens
"""

_Id = Annotated[str, Meta(min_length=1, max_length=64)]
_Name = Annotated[str, Meta(max_length=1024)]
_Tokens = Annotated[int, Meta(ge=0, le=2**53)]


class UsageRecord(Struct, frozen=True, array_like=True, gc=False):
    """One finished request. In JSON it is an array in this order; a newer version only adds at the end."""

    id: _Id
    at: Annotated[float, Meta(ge=0, le=2**40)]
    """Seconds since 1970, at the end of the request."""
    tenant: Annotated[str, Meta(max_length=32)]
    key: Annotated[str, Meta(max_length=128)]
    model: _Name
    path: Annotated[str, Meta(max_length=64)]
    status: Annotated[int, Meta(ge=0, le=999)]
    prompt_tokens: _Tokens
    cached_tokens: _Tokens
    completion_tokens: _Tokens
    estimated: bool
    """The worker told no usage, so that these are our own counts."""


class Usage(Struct, omit_defaults=True):
    """The sums of one group; of what it was grouped by, the names."""

    requests: int
    failed: int
    """Requests that were answered with a status of 400 or more; 499 is a client that left."""
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    tenant: str | None = None
    key: str | None = None
    model: str | None = None
    day: str | None = None
    """``2026-11-24``, UTC."""
    month: str | None = None
    """``2026-11``, UTC."""


class UsageStore:
    """Every method blocks and may raise StoreError: call it in a thread."""

    def __init__(self, database: Database, *, retention: float = 90.0, clock: Callable[[], float] = time.time) -> None:
        """``retention``: days for which single records are kept; their sums stay."""
        self._database = database
        self._retention = retention
        self._clock = clock
        self._partitions = Partitions(database)
        names = ("sqlite_sums", "sqlite_records") if database.embedded else ("postgresql",)
        self._statements = [_statement(name) for name in names]

    def add(self, records: Sequence[UsageRecord]) -> int:
        """Note what is not noted yet, and add it to the sums, in transactions of 1,000 records.

        Returns how many were refused: what is older than the retention could be counted twice, since its id may have
        been forgotten, and what the database does not take would hold up all that follows.
        """
        horizon = self._horizon()
        fresh = [record for record in records if record.at >= horizon * DAY]
        refused = len(records) - len(fresh)
        for start in range(0, len(fresh), _BATCH):
            refused += self._insert(fresh[start : start + _BATCH])
        return refused

    def expire(self) -> None:
        """Forget the records, not the sums, of days beyond the retention, and make tomorrow's partition."""
        horizon = self._horizon()
        if self._database.embedded:
            with self._database.write() as session:
                session.execute(text("DELETE FROM usage_records WHERE day < :day"), {"day": horizon})
            return
        self._partitions.drop(horizon)
        self._partitions.make({self._today() + _AHEAD})

    def report(
        self,
        group_by: Iterable[Group],
        *,
        since: date,
        until: date,
        tenant: str | None = None,
        key: str | None = None,
        model: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Usage]:
        """The sums from day ``since`` to day ``until``, both included, in the order of the groups."""
        groups = list(dict.fromkeys(group_by))
        if "day" in groups and "month" in groups:
            raise InvalidRequest("group_by: takes day or month, not both.", param="group_by")
        names: dict[str, Any] = {
            "tenant": UsageDayRow.tenant_id,
            "key": UsageDayRow.key_id,
            "model": UsageDayRow.model,
            "day": UsageDayRow.day,
            "month": self._month(),
        }
        chosen = [names[group].label(group) for group in groups]
        query: Select[Any] = select(*chosen, *_sums()).where(
            UsageDayRow.day >= number(since), UsageDayRow.day <= number(until)
        )
        for column, wanted in (("tenant", tenant), ("key", key), ("model", model)):
            if wanted is not None:
                query = query.where(names[column] == wanted)
        if groups:
            query = query.group_by(*chosen).order_by(*chosen)
        query = query.limit(min(limit, _MOST_GROUPS)).offset(offset)
        with self._database.read() as session:
            return [_usage(row._mapping) for row in session.execute(query)]

    def spent(self) -> list[Spent]:
        """What every key and tenant has used of its budgets: the current day and month, UTC."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        today = number(now.date())
        first = number(now.date().replace(day=1))
        tokens = UsageDayRow.prompt_tokens + UsageDayRow.completion_tokens
        spent: list[Spent] = []
        with self._database.read() as session:
            query = (
                select(
                    UsageDayRow.tenant_id,
                    UsageDayRow.key_id,
                    func.sum(tokens).filter(UsageDayRow.day == today),
                    func.sum(tokens),
                )
                .where(UsageDayRow.day >= first, UsageDayRow.day <= today)
                .group_by(UsageDayRow.tenant_id, UsageDayRow.key_id)
            )
            tenants: dict[str, tuple[int, int]] = {}
            for tenant, key, day, month in session.execute(query):
                spent.append(Spent(f"key:{key}", tenant, int(day or 0), int(month)))
                so_far = tenants.get(tenant, (0, 0))
                tenants[tenant] = (so_far[0] + int(day or 0), so_far[1] + int(month))
        return spent + [Spent(f"tenant:{tenant}", tenant, *sums) for tenant, sums in tenants.items()]

    def _insert(self, batch: Sequence[UsageRecord]) -> int:
        """Of one transaction; where it holds what the database does not take, the others of it in one each."""
        if not self._database.embedded:
            self._partitions.make({int(record.at // DAY) for record in batch})
        try:
            self._write(batch)
        except StoreError as error:
            if not isinstance(error.__cause__, DataError | IntegrityError):
                raise
            if len(batch) == 1:
                return 1
            middle = len(batch) // 2
            return self._insert(batch[:middle]) + self._insert(batch[middle:])
        return 0

    def _write(self, batch: Sequence[UsageRecord]) -> None:
        if self._database.embedded and self._write_new(batch):
            return
        rows = {"rows": msgspec.json.encode(batch).decode()}
        with self._database.write() as session:
            for statement in self._statements:
                session.execute(statement, rows)

    def _write_new(self, batch: Sequence[UsageRecord]) -> bool:
        """The usual case, at half the cost: none of these was noted before. False, and nothing done, if one was."""
        sums: dict[tuple[int, str, str, str], list[int]] = {}
        rows = []
        for record in batch:
            day = int(record.at // DAY)
            rows.append((day, *astuple(record)))
            total = sums.setdefault((day, record.tenant, record.key, record.model), [0] * len(_COUNTS))
            total[0] += 1
            total[1] += record.status >= 400
            total[2] += record.prompt_tokens
            total[3] += record.cached_tokens
            total[4] += record.completion_tokens
        try:
            with self._database.write() as session:
                connection = session.connection()
                connection.exec_driver_sql(_INSERT, rows)
                connection.exec_driver_sql(_ADD, [(*group, *total) for group, total in sums.items()])
        except StoreError as error:
            if isinstance(error.__cause__, IntegrityError):
                return False
            raise
        return True

    def _today(self) -> int:
        return int(self._clock() // DAY)

    def _horizon(self) -> int:
        return int(self._clock() // DAY - self._retention)

    def _month(self) -> Any:
        """The month of a row, as ``2026-11``."""
        if self._database.embedded:
            return func.strftime("%Y-%m", UsageDayRow.day * DAY, "unixepoch")
        return func.to_char(func.to_timestamp(UsageDayRow.day * DAY).op("AT TIME ZONE")("UTC"), "YYYY-MM")


def _sums() -> list[Any]:
    return [func.coalesce(func.sum(getattr(UsageDayRow, name)), 0).label(name) for name in _COUNTS]


def _usage(row: Any) -> Usage:
    values = dict(row)
    if "day" in values:
        values["day"] = datetime.fromtimestamp(values["day"] * DAY, UTC).date().isoformat()
    for name in _COUNTS:
        values[name] = int(values[name])
    return Usage(**values)


def _statement(name: str) -> TextClause:
    """They take records as one JSON array: a parameter for each value would cost more here than all the rest."""
    return text((Path(__file__).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8"))

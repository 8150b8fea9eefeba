from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import text

from headrace.errors import InvalidRequest, StoreError
from headrace.store.database import Database, default_url
from headrace.store.limits.limiter import Spent
from headrace.store.usage import DAY, Group, Usage, UsageRecord, UsageStore
from tests.store.conftest import Clock

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC).timestamp()
ALL: dict[str, Any] = {"since": date(2026, 1, 1), "until": date(2027, 12, 31)}


@pytest.fixture
def usage(database: Database, clock: Clock) -> UsageStore:
    clock.now = NOON
    return UsageStore(database, clock=clock)


def record(id: str, **more: Any) -> UsageRecord:
    values: dict[str, Any] = {
        "at": NOON,
        "tenant": "acme",
        "key": "k1",
        "model": "m",
        "path": "/v1/chat/completions",
        "status": 200,
        "prompt_tokens": 10,
        "cached_tokens": 4,
        "completion_tokens": 3,
        "estimated": False,
    }
    return UsageRecord(id=id, **{**values, **more})


def count(database: Database) -> int:
    with database.read() as session:
        found: int = session.execute(text("SELECT count(*) FROM usage_records")).scalar_one()
    return found


def test_a_record_is_kept_as_it_is(usage: UsageStore, database: Database) -> None:
    assert usage.add([record("one", at=NOON + 0.5, model="модель", estimated=True)]) == 0
    with database.read() as session:
        row = session.execute(text("SELECT * FROM usage_records")).mappings().one()
    assert dict(row) == {
        "day": int(NOON // DAY),
        "id": "one",
        "at": NOON + 0.5,
        "tenant_id": "acme",
        "key_id": "k1",
        "model": "модель",
        "path": "/v1/chat/completions",
        "status": 200,
        "prompt_tokens": 10,
        "cached_tokens": 4,
        "completion_tokens": 3,
        "estimated": True,
    }


def test_what_comes_twice_counts_once(usage: UsageStore, database: Database) -> None:
    usage.add([record("one"), record("two")])
    usage.add([record("two"), record("three", status=503, prompt_tokens=0, completion_tokens=0)])
    assert usage.report([], **ALL) == [Usage(3, 1, 20, 12, 6)]
    assert count(database) == 3


def test_more_than_one_transaction_takes(usage: UsageStore, database: Database) -> None:
    usage.add([record(f"r{number}") for number in range(2_500)])
    assert usage.report([], **ALL)[0].requests == count(database) == 2_500


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (["tenant"], [("acme", 3), ("other", 1)]),
        (["key"], [("k1", 2), ("k2", 2)]),
        (["model"], [("m", 3), ("n", 1)]),
        (["day"], [("2026-12-31", 1), ("2027-01-15", 3)]),
        (["month"], [("2026-12", 1), ("2027-01", 3)]),
        (["month", "model"], [("2026-12", "m", 1), ("2027-01", "m", 2), ("2027-01", "n", 1)]),
        ([], [(4,)]),
    ],
)
def test_sums_are_told_by_what_is_asked(usage: UsageStore, groups: list[Group], expected: list[Any]) -> None:
    new_year = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    usage.add([record("1", at=new_year), record("2"), record("3", key="k2", model="n")])
    usage.add([record("4", tenant="other", key="k2")])
    rows = usage.report(groups, **ALL)
    assert [(*(getattr(row, group) for group in groups), row.requests) for row in rows] == expected


@pytest.mark.parametrize(
    ("choice", "requests"),
    [
        ({"tenant": "other"}, 1),
        ({"key": "k2"}, 2),
        ({"model": "n"}, 1),
        ({"since": date(2027, 1, 16)}, 1),
        ({"until": date(2027, 1, 15)}, 3),
        ({"tenant": "acme", "key": "k2"}, 1),
    ],
)
def test_sums_of_a_choice(usage: UsageStore, choice: dict[str, Any], requests: int) -> None:
    usage.add([record("1"), record("2"), record("3", key="k2", model="n")])
    usage.add([record("4", tenant="other", key="k2", at=NOON + DAY)])
    assert usage.report([], **{**ALL, **choice})[0].requests == requests


def test_sums_come_in_pages(usage: UsageStore) -> None:
    usage.add([record(str(number), key=f"k{number}") for number in range(5)])
    pages = [usage.report(["key"], **ALL, limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [[row.key for row in page] for page in pages] == [["k0", "k1"], ["k2", "k3"], ["k4"]]


def test_nothing_used_is_nothing(usage: UsageStore) -> None:
    assert usage.report([], **ALL) == [Usage(0, 0, 0, 0, 0)]
    assert usage.report(["key"], **ALL) == []


def test_day_and_month_at_once_make_no_sense(usage: UsageStore) -> None:
    with pytest.raises(InvalidRequest, match="day or month"):
        usage.report(["day", "month"], **ALL)


def test_records_expire_and_their_sums_stay(usage: UsageStore, database: Database, clock: Clock) -> None:
    usage.add([record("old", at=NOON - 89 * DAY), record("new")])
    usage.expire()
    assert count(database) == 2
    clock.now += 2 * DAY
    usage.expire()
    assert count(database) == 1
    assert usage.report([], **ALL)[0].requests == 2


def test_what_comes_after_its_day_was_forgotten_is_not_counted_again(usage: UsageStore) -> None:
    assert usage.add([record("old", at=NOON - 91 * DAY), record("new")]) == 1
    assert usage.report([], **ALL)[0].requests == 1


def test_what_the_database_does_not_take_holds_nothing_up(usage: UsageStore) -> None:
    bad = record("bad", key=None)  # no decoder would have let it through
    records = [record(f"r{number}") for number in range(5)] + [bad, record("last")]
    assert usage.add(records) == 1
    assert usage.report([], **ALL)[0].requests == 6


def test_partitions_are_by_day(usage: UsageStore, database: Database) -> None:
    usage.add([record("1"), record("2", at=NOON - DAY)])
    usage.expire()
    if database.embedded:
        return
    query = text("SELECT relname FROM pg_class WHERE relispartition AND relname LIKE 'usage_records_%'")
    with database.read() as session:
        names = set(session.execute(query).scalars())
    assert names >= {"usage_records_20270114", "usage_records_20270115", "usage_records_20270116"}


def test_what_was_spent_of_budgets(usage: UsageStore) -> None:
    usage.add([record("1"), record("2", at=NOON - DAY), record("3", key="k2"), record("4", at=NOON - 20 * DAY)])
    assert sorted(usage.spent(), key=lambda spent: spent.subject) == [
        Spent("key:k1", "acme", 13, 26),
        Spent("key:k2", "acme", 13, 13),
        Spent("tenant:acme", "acme", 26, 39),
    ]


def test_a_database_that_is_away_is_told(clock: Clock, tmp_path: Any) -> None:
    database = Database(default_url(tmp_path))
    with pytest.raises(StoreError, match="headrace db upgrade"):
        UsageStore(database, clock=clock).add([record("one", at=clock.now)])
    database.close()

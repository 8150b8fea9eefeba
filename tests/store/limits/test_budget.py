from __future__ import annotations

from datetime import UTC, datetime

import pytest

from headrace.store.limits.budget import Budget, day, month


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        ("2028-02-29T23:59:59", "2028-02-01", "2028-03-01"),
        ("2027-12-31T12:00:00", "2027-12-01", "2028-01-01"),
        ("2027-01-01T00:00:00", "2027-01-01", "2027-02-01"),
    ],
)
def test_a_month_is_that_of_the_calendar(now: str, start: str, end: str) -> None:
    window = month(at(now))
    assert (window.start, window.end) == (at(start), at(end))
    assert month(window.end).number == window.number + 1


def test_a_day_begins_at_midnight_utc() -> None:
    window = day(at("2027-03-04T05:06:07"))
    assert (window.start, window.end) == (at("2027-03-04"), at("2027-03-05"))


def test_a_new_window_begins_with_nothing_used() -> None:
    budget = Budget(day)
    budget.charge(at("2027-03-04T12:00:00"), 90)
    assert budget.wait(at("2027-03-04T12:00:00"), 11, 0, 100) == 12 * 3600 * 1_000_000
    assert budget.wait(at("2027-03-05T00:00:00"), 100, 0, 100) == 0


def test_what_only_running_requests_hold_may_be_free_soon() -> None:
    assert Budget(day).wait(at("2027-03-04T12:00:00"), 60, 50, 100) == 1_000_000

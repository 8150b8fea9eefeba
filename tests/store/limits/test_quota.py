from __future__ import annotations

import logging
from typing import Any

import pytest

from headrace.errors import InvalidRequest
from headrace.store.limits import quota
from headrace.store.limits.quota import CLOSED, MINUTE, Quota


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"rpm": 5}, "rpm"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": "100"}, "tokens_per_minute"),
        ({"tokens_per_day": 1.5}, "tokens_per_day"),
        ({"concurrency": True}, "concurrency"),
    ],
)
def test_wrong_limits_are_refused_by_name(limits: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        quota.check(limits)


def test_right_limits_pass() -> None:
    quota.check({})
    quota.check(dict.fromkeys(Quota.__struct_fields__, 7))


def test_nothing_limited_is_no_subject() -> None:
    assert quota.subject("key", "a", "t", {}) is None
    assert quota.subject("key", "a", "t", {"of_a_newer_version": 1}) is None


def test_a_subject_knows_what_is_counted() -> None:
    subject = quota.subject("key", "a", "t", {"requests_per_minute": 7, "tokens_per_minute": 9, "tokens_per_day": 5})
    assert subject is not None
    assert (subject.name, subject.kind, subject.tenant) == ("key:a", "key", "t")
    assert (subject.request_limit, subject.token_limit, subject.largest) == (7, 9, 5)
    assert 7 * subject.request_cost >= MINUTE > 7 * (subject.request_cost - 1)


def test_limits_that_cannot_be_read_close_their_owner(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        subject = quota.subject("key", "a", "t", {"tokens_per_minute": "many"})
    assert subject is not None
    assert subject.quota == CLOSED
    assert "close" in caplog.text


def test_only_what_is_set_is_kept() -> None:
    assert Quota(concurrency=3).to_dict() == {"concurrency": 3}

from __future__ import annotations

import pytest

from headrace.errors import InvalidRequest
from headrace.router.ticket import DEFAULT_PRIORITY, Ticket


def ticket(**headers: str) -> Ticket:
    fields = {f"x-headrace-{name.replace('_', '-')}".encode(): value.encode() for name, value in headers.items()}
    return Ticket({b"x-headrace-model": b"org/m", **fields}, 100.0)


def test_everything_that_llm_api_says() -> None:
    made = ticket(
        cost="10,20",
        deadline_ms="1500",
        prefix="00ff",
        tenant="t",
        adapter="a",
        session="s",
        priority="0",
    )
    assert (made.pool, made.prompt_tokens, made.output_tokens, made.work) == ("org/m", 10, 20, 30)
    assert (made.arrived, made.deadline, made.prefix) == (100.0, 101.5, b"00ff")
    assert (made.tenant, made.adapter, made.session, made.priority) == (b"t", b"a", b"s", 0)


def test_older_senders_need_only_name_the_pool() -> None:
    made = ticket()
    assert (made.prompt_tokens, made.output_tokens, made.deadline) == (256, 256, 700.0)
    assert (made.tenant, made.adapter, made.session, made.prefix, made.request_id) == (b"",) * 5
    assert made.priority == DEFAULT_PRIORITY


@pytest.mark.parametrize(("given", "priority"), [("9", 9), ("12", 9), ("-1", 5), ("high", 5), ("", 5)])
def test_priority_is_bounded(given: str, priority: int) -> None:
    assert ticket(priority=given).priority == priority


@pytest.mark.parametrize("wrong", [{"cost": "10"}, {"cost": "a,b"}, {"cost": ""}, {"deadline_ms": "soon"}])
def test_number_that_is_none_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="malformed"):
        ticket(**wrong)


def test_missing_pool_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="x-headrace-model"):
        Ticket({}, 0.0)


def test_pool_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        Ticket({b"x-headrace-model": b"\xff"}, 0.0)

"""The budget of retries."""

from __future__ import annotations

from headrace.router.retry import RetryBudget


def test_is_a_share_of_the_requests() -> None:
    budget = RetryBudget(0)
    while budget.withdraw(0):
        pass
    for _ in range(52):
        budget.deposit()
    assert sum(budget.withdraw(0) for _ in range(50)) == 10


def test_fills_with_time_and_is_bounded() -> None:
    budget = RetryBudget(0)
    assert sum(budget.withdraw(0) for _ in range(200)) == 100
    assert sum(budget.withdraw(1) for _ in range(200)) == 10
    assert sum(budget.withdraw(3600) for _ in range(200)) == 100

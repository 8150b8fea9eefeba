"""What one key or tenant has used and holds, in memory."""

from __future__ import annotations

import sys
from operator import itemgetter

from headrace.store.limits.bucket import Bucket
from headrace.store.limits.budget import Budget, day, month
from headrace.store.limits.limiter import SLOT_WAIT
from headrace.store.limits.quota import MINUTE, Subject

_first = itemgetter(0)


class Account:
    """Where ``share`` processes have an account each for a subject, each counts everything that many times."""

    __slots__ = (
        "_budgets",
        "_days",
        "_held",
        "_minute",
        "_months",
        "_request_cost",
        "_share",
        "_slots",
        "request_limit",
        "requests",
        "running",
        "subject",
        "token_limit",
        "tokens",
    )

    def __init__(self, subject: Subject, share: int) -> None:
        self.requests = Bucket()
        self.tokens = Bucket()
        self.running = 0
        self._days = Budget(day)
        self._months = Budget(month)
        self._held = 0
        """Tokens that running requests have reserved."""
        self.bind(subject, share)

    def bind(self, subject: Subject, share: int) -> None:
        """Go on with these limits; what was used stays used."""
        quota = subject.quota
        self.subject = subject
        self._share = share
        self._minute = MINUTE * share
        self.request_limit = subject.request_limit
        self.token_limit = subject.token_limit
        self._request_cost = min(subject.request_cost * share, MINUTE)
        self._slots = sys.maxsize if quota.concurrency is None else self._part(quota.concurrency)
        self._budgets = quota.tokens_per_day is not None or quota.tokens_per_month is not None

    def admit(self, now: int, number: int, tokens: int) -> bool:
        """Take one request and these tokens out of everything, or nothing. ``number`` is that of this step."""
        if self.running >= self._slots or (self._budgets and self._budget_wait(now, tokens)[0]):
            return False
        cost = self._request_cost
        if cost and not self.requests.admit(now, number, cost):
            return False
        if self.token_limit and not self.tokens.admit(now, number, self._reserved(tokens)):
            if cost:
                self.requests.refund(number, cost)
            return False
        self.running += 1
        self._held += tokens
        return True

    def settle(self, now: int, number: int, last: int, reserved: int, used: int, counts: bool) -> None:
        """End what step ``number`` took, by the step ``last``."""
        self.running -= 1
        self._held -= reserved
        if not counts and self._request_cost:
            self.requests.refund(number, self._request_cost)
        if self.token_limit:
            excess = -(-used * self._minute // self.token_limit) - self._reserved(reserved)
            if excess < 0:
                self.tokens.refund(number, -excess)
            elif excess:
                self.tokens.take(now, last, excess)
        if self._budgets:
            self._days.charge(now, used)
            self._months.charge(now, used)

    def remember(self, now: int, at: int, day_tokens: int, month_tokens: int) -> None:
        """What had been used at ``at``, by all processes, as the ledger tells."""
        self._days.raise_to(now, at, day_tokens // self._share)
        self._months.raise_to(now, at, month_tokens // self._share)

    def wait(self, now: int, tokens: int) -> tuple[int, str]:
        """Microseconds until a request would be admitted, and the limit that it waits for; 0 if that is now."""
        waits = [(0, "")]
        if self._request_cost:
            waits.append((self.requests.wait(now, self._request_cost), "requests_per_minute"))
        if self.token_limit:
            waits.append((self.tokens.wait(now, self._reserved(tokens)), "tokens_per_minute"))
        if self.running >= self._slots:
            waits.append((SLOT_WAIT, "concurrency"))
        waits.append(self._budget_wait(now, tokens))
        return max(waits, key=_first)

    def at_rest(self, now: int) -> bool:
        """Whether a new account would do as well."""
        self._days.enter(now)
        self._months.enter(now)
        used = self.running or self._days.used or self._months.used
        return not used and self.requests.tat <= now and self.tokens.tat <= now

    def _reserved(self, tokens: int) -> int:
        """Microseconds that a reservation takes, rounded up; at most the whole bucket."""
        cost = -(-tokens * self._minute // self.token_limit)
        if cost > MINUTE:
            return MINUTE
        return cost

    def _budget_wait(self, now: int, tokens: int) -> tuple[int, str]:
        quota = self.subject.quota
        waits = [(0, "")]
        for budget, limit, name in (
            (self._days, quota.tokens_per_day, "tokens_per_day"),
            (self._months, quota.tokens_per_month, "tokens_per_month"),
        ):
            if limit is not None:
                waits.append((budget.wait(now, tokens, self._held, self._part(limit)), name))
        return max(waits, key=_first)

    def _part(self, limit: int) -> int:
        """This process's part of a number that cannot flow: at least one, unless there is none at all."""
        return max(min(limit, 1), limit // self._share)

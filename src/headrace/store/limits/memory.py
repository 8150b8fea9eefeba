"""Limits in the memory of one process."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.store.limits.account import Account
from headrace.store.limits.limiter import Clock, Lease, Refusal, Spent, Standing, epoch_clock, standing
from headrace.store.limits.quota import Subject


class MemoryLimiter:
    """A ``LimiterService``. Where ``share`` processes have one each, each enforces that part of every limit.

    A request that is larger than its part passes when nothing else was used.
    """

    def __init__(self, *, share: int = 1, clock: Clock | None = None, accounts: int = 100_000) -> None:
        """``accounts`` are kept at most: those at rest go first, then the oldest with nothing running."""
        self.fallback = False
        self.share = share
        self._clock = clock or epoch_clock()
        self._limit = accounts
        self._accounts: dict[str, Account] = {}
        self._spent: dict[str, Spent] = {}
        self._spent_at = 0
        self._step = 0

    def __len__(self) -> int:
        return len(self._accounts)

    async def reserve(self, subjects: Sequence[Subject], tokens: int) -> Lease | Refusal:
        now = self._clock()
        self._step = number = self._step + 1
        accounts: list[Account] = []
        for subject in subjects:
            account = self._accounts.get(subject.name)
            if account is None or account.subject is not subject:
                account = self._open(subject, now)
            if not account.admit(now, number, tokens):
                for taken in accounts:
                    taken.settle(now, number, number, tokens, 0, False)
                return self._refuse(subjects, now, tokens)
            accounts.append(account)
        return _MemoryLease(self, now, number, accounts, tokens)

    def settle(self, lease: _MemoryLease, tokens: int, counts: bool) -> None:
        now = self._clock()
        self._step = last = self._step + 1
        for account in lease.accounts:
            account.settle(now, lease.number, last, lease.reserved, tokens, counts)

    @property
    def lost(self) -> bool:
        return not self._spent_at

    async def restore(self, spent: Sequence[Spent]) -> None:
        """Go on with the budgets as the ledger knows them."""
        now = self._spent_at = self._clock()
        self._spent = {one.subject: one for one in spent}
        for name, account in self._accounts.items():
            self._remember(name, account, now)

    async def run(self) -> None:
        """Nothing: its leases live as long as the process."""

    async def close(self) -> None:
        """Nothing is open."""

    def _refuse(self, subjects: Sequence[Subject], now: int, tokens: int) -> Refusal:
        accounts = [self._open(subject, now) for subject in subjects]
        waits = [account.wait(now, tokens) for account in accounts]
        refuser = max(range(len(waits)), key=lambda index: waits[index][0])
        wait, limit = waits[refuser]
        return Refusal(subjects[refuser], limit, wait, *_standings(accounts, now))

    def _open(self, subject: Subject, now: int) -> Account:
        account = self._accounts.get(subject.name)
        if account is None:
            if len(self._accounts) >= self._limit:
                self._evict(now)
            account = self._accounts[subject.name] = Account(subject, self.share)
            self._remember(subject.name, account, now)
        elif account.subject is not subject:
            account.bind(subject, self.share)
        return account

    def _remember(self, name: str, account: Account, now: int) -> None:
        spent = self._spent.get(name)
        if spent is not None:
            account.remember(now, self._spent_at, spent.day, spent.month)

    def _evict(self, now: int) -> None:
        for name in [name for name, account in self._accounts.items() if account.at_rest(now)]:
            del self._accounts[name]
        if len(self._accounts) >= self._limit:
            idle = next((name for name, account in self._accounts.items() if not account.running), None)
            if idle is not None:
                del self._accounts[idle]


class _MemoryLease:
    """A ``Lease``. It dies with its process, so that a crash leaks nothing."""

    __slots__ = ("_limiter", "accounts", "number", "requests", "reserved", "tokens")

    def __init__(self, limiter: MemoryLimiter, now: int, number: int, accounts: list[Account], reserved: int) -> None:
        self._limiter = limiter
        self.number = number
        self.accounts = accounts
        self.reserved = reserved
        self.requests, self.tokens = _standings(accounts, now)

    def settle(self, tokens: int, *, counts: bool = True) -> None:
        self._limiter.settle(self, tokens, counts)


def _standings(accounts: list[Account], now: int) -> tuple[Standing | None, Standing | None]:
    """Of requests and of tokens."""
    requests = tokens = None
    for account in accounts:
        if account.request_limit:
            requests = standing(requests, account.request_limit, account.requests.tat - now)
        if account.token_limit:
            tokens = standing(tokens, account.token_limit, account.tokens.tat - now)
    return requests, tokens

"""What a key or a tenant may use."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from headrace.errors import InvalidRequest

MINUTE = 60_000_000
"""Microseconds: the unit of time of all limits, and the burst of those per minute."""

_Limit = Annotated[int, Meta(ge=1, le=10**12)]

_log = logging.getLogger(__name__)


class Quota(Struct, frozen=True, gc=False):
    """The limits that were set; None is no limit."""

    requests_per_minute: _Limit | None = None
    tokens_per_minute: _Limit | None = None
    concurrency: _Limit | None = None
    """Requests that run at the same time."""
    tokens_per_day: _Limit | None = None
    """Of UTC."""
    tokens_per_month: _Limit | None = None

    def token_limits(self) -> list[tuple[str, int]]:
        """Those that count tokens, with their names."""
        names = ("tokens_per_minute", "tokens_per_day", "tokens_per_month")
        return [(name, value) for name in names if (value := getattr(self, name)) is not None]

    def to_dict(self) -> dict[str, int]:
        """As the store keeps it: only what is set."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


class _StrictQuota(Quota, frozen=True, gc=False, forbid_unknown_fields=True):
    pass


class Subject(Struct, frozen=True, gc=False):
    """A key or tenant with limits."""

    name: str
    """``key:<id>`` or ``tenant:<id>``."""
    tenant: str
    quota: Quota
    request_limit: int
    """Per minute; 0: none."""
    request_cost: int
    """Microseconds of its minute that one request takes; 0 without that limit."""
    token_limit: int
    """Per minute; 0: none."""
    largest: int
    """The least limit on tokens: no single request may take more; 0: none."""

    @property
    def kind(self) -> str:
        return self.name.partition(":")[0]

    def token_cost(self, tokens: int) -> int:
        """Microseconds that these tokens take, rounded up, so that no more than the limit ever gets through."""
        return -(-tokens * MINUTE // self.token_limit)

    def reserve_cost(self, tokens: int) -> int:
        """The same for a reservation, which takes the whole bucket at most."""
        return min(self.token_cost(tokens), MINUTE)


CLOSED = Quota(concurrency=0)
"""In place of limits that cannot be read: nothing gets through, rather than everything."""


def check(limits: Mapping[str, Any]) -> None:
    """Raises InvalidRequest, naming the limit, for what is not a quota."""
    try:
        msgspec.convert(limits, _StrictQuota)
    except msgspec.ValidationError as error:
        known = ", ".join(Quota.__struct_fields__)
        raise InvalidRequest(f"limits: {error}. Limits are {known}; each is a whole number.", param="limits") from None


def subject(kind: str, id: str, tenant: str, limits: Mapping[str, Any]) -> Subject | None:
    """The ``key`` or ``tenant`` with these stored limits; None where there are none."""
    if not limits:
        return None
    quota = _read(f"{kind}:{id}", limits)
    return None if quota == Quota() else make(f"{kind}:{id}", tenant, quota)


def make(name: str, tenant: str, quota: Quota) -> Subject:
    requests = quota.requests_per_minute or 0
    return Subject(
        name=name,
        tenant=tenant,
        quota=quota,
        request_limit=requests,
        request_cost=-(-MINUTE // requests) if requests else 0,
        token_limit=quota.tokens_per_minute or 0,
        largest=min((value for _, value in quota.token_limits()), default=0),
    )


def _read(owner: str, limits: Mapping[str, Any]) -> Quota:
    """Names that a newer version may have written are ignored, as everywhere; values of a wrong type are not."""
    try:
        return msgspec.convert(limits, Quota)
    except msgspec.ValidationError as error:
        _log.error("limits that cannot be read close their owner", extra={"owner": owner, "reason": str(error)})
        return CLOSED

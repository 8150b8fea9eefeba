"""One call of the admin API, and what it may ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

from headrace.api.openapi import Operation, Parameter
from headrace.errors import InvalidRequest
from headrace.openai.document import convert, decode
from headrace.store.keys import ADMIN, READ
from headrace.store.snapshot import Principal

T = TypeVar("T")

MOST = 1_000
LIMIT = Parameter("limit", schema={"type": "integer", "minimum": 1, "maximum": MOST, "default": 100})


@dataclass(frozen=True, slots=True)
class Call:
    principal: Principal
    path: Mapping[str, str]
    """What stands in the path's places."""
    query: Mapping[str, str]
    body: bytes

    @property
    def actor(self) -> str:
        """Who is named in the audit."""
        return self.principal.key_id

    @property
    def is_admin(self) -> bool:
        return not self.principal.scopes.isdisjoint({ADMIN, READ})

    def decode(self, kind: type[T]) -> T:
        """The body; an empty one is an empty object. Raises InvalidRequest, naming the field."""
        if b"\\u0000" in self.body:
            raise InvalidRequest("The body holds a NUL character, which no name may have.")
        return convert(decode(self.body or b"{}"), kind, {})

    def limit(self) -> int:
        return self.number("limit", 100, least=1, most=MOST)

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 18 and least <= int(text) <= most):
            raise InvalidRequest(f"{name}: must be a whole number from {least} to {most}.", param=name)
        return int(text)

    def day(self, name: str, default: date) -> date:
        text = self.query.get(name)
        if text is None:
            return default
        try:
            found = date.fromisoformat(text)
        except ValueError:
            raise InvalidRequest(f"{name}: must be a day such as 2026-11-24.", param=name) from None
        if found.year < 1970:
            raise InvalidRequest(f"{name}: must not lie before 1970.", param=name)
        return found


@dataclass(frozen=True, slots=True)
class Action:
    """An operation, who may ask for it, and what it does."""

    operation: Operation
    scopes: frozenset[str]
    """One of them is enough."""
    run: Callable[[Call], Any]
    """Blocks, and may raise ApiError and StoreError."""


def page(found: list[T], limit: int) -> tuple[list[T], bool]:
    """``found`` was asked for with one more than ``limit``, which only tells whether there is more."""
    return found[:limit], len(found) > limit

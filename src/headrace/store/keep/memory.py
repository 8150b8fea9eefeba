"""Values in the memory of one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from headrace.errors import StoreError

_OVERHEAD = 300
"""Bytes that an entry takes beside its name and value, about."""


@dataclass(slots=True)
class _Entry:
    value: bytes
    expires: float
    claimed: bool
    """Work goes on under this name: it may not be forgotten for want of room."""


class MemoryKeep:
    """A ``Keep`` of at most ``limit`` bytes; the oldest values go first."""

    def __init__(self, limit: int = 64 * 1024 * 1024, clock: Callable[[], float] = time.monotonic) -> None:
        self.size = 0
        self._limit = limit
        self._clock = clock
        self._entries: dict[str, _Entry] = {}  # in the order in which they came

    async def claim(self, name: str, mark: bytes, seconds: float) -> bytes | None:
        found = await self.get(name)
        if found is None:
            self._add(name, _Entry(mark, self._clock() + seconds, claimed=True))
            if name not in self._entries:
                raise StoreError("too many requests with an Idempotency-Key are running")
        return found

    async def get(self, name: str) -> bytes | None:
        entry = self._entries.get(name)
        if entry is None:
            return None
        if entry.expires <= self._clock():
            self._remove(name)
            return None
        return entry.value

    async def put(self, name: str, value: bytes, seconds: float) -> None:
        self._remove(name)
        self._add(name, _Entry(value, self._clock() + seconds, claimed=False))

    async def extend(self, name: str, seconds: float) -> None:
        entry = self._entries.get(name)
        if entry is not None:
            entry.expires = self._clock() + seconds

    async def drop(self, name: str) -> None:
        self._remove(name)

    async def close(self) -> None:
        self._entries.clear()

    def _add(self, name: str, entry: _Entry) -> None:
        cost = _cost(name, entry)
        if self.size + cost > self._limit:
            self._make_room(cost)
        if self.size + cost <= self._limit:
            self._entries[name] = entry
            self.size += cost

    def _make_room(self, cost: int) -> None:
        now = self._clock()
        for name in [name for name, entry in self._entries.items() if entry.expires <= now]:
            self._remove(name)
        for name in [name for name, entry in self._entries.items() if not entry.claimed]:
            if self.size + cost <= self._limit:
                return
            self._remove(name)

    def _remove(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self.size -= _cost(name, entry)


def _cost(name: str, entry: _Entry) -> int:
    return len(name) + len(entry.value) + _OVERHEAD

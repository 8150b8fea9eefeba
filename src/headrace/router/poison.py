"""Requests that workers died of, and that no further worker is to die of."""

from __future__ import annotations

from collections.abc import Callable

from xxhash import xxh3_128_digest

from headrace.errors import CrashesWorker

_SECONDS = 600.0
_ENTRIES = 1024


class PoisonList:
    """Bodies that are refused for ten minutes; the newest 1,024 of them.

    Only a digest is kept. The list is of one process: with N of them a request has N times two workers to go through.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._banned: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._banned)

    def check(self, pool: str, body: bytes) -> None:
        """Raises CrashesWorker. Costs next to nothing as long as nothing is banned."""
        if not self._banned:
            return
        now = self._clock()
        while self._banned and next(iter(self._banned.values())) <= now:  # in the order in which they end
            del self._banned[next(iter(self._banned))]
        until = self._banned.get(_digest(pool, body))
        if until is not None:
            raise CrashesWorker(
                f"Two workers were lost while they worked on this request; it is refused for {until - now:.0f} s more."
            )

    def ban(self, pool: str, body: bytes) -> None:
        digest = _digest(pool, body)
        self._banned.pop(digest, None)
        if len(self._banned) >= _ENTRIES:
            del self._banned[next(iter(self._banned))]
        self._banned[digest] = self._clock() + _SECONDS


def _digest(pool: str, body: bytes) -> bytes:
    return xxh3_128_digest(pool.encode() + b"\0" + body)

"""Requests that workers died of, and that no further worker is to die of."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path

from xxhash import xxh3_128_digest

from headrace.errors import CrashesWorker

_SECONDS = 600.0
_ENTRIES = 1024
_ENTRY = struct.Struct("=16sd")
"""A digest, and until when it is refused."""
_HEAD = 8
_SIZE = _HEAD + _ENTRIES * _ENTRY.size


class PoisonList:
    """Bodies that are refused for ten minutes; the newest 1,024 of them. Only digests are kept.

    The processes of one router have one list between them, so that what two workers died of does not get at two more
    through the next process: a ring of entries behind the number of all that were ever written, in memory that they
    share. Nobody locks it, so that a process that stands still stops no other one. Of two bans in the same microsecond
    one may be lost, and costs two workers more.
    """

    def __init__(self, clock: Callable[[], float], path: Path | None = None) -> None:
        """``path``: of the file that the processes share; their ``clock`` must be the same. None: there is one."""
        self._clock = clock
        self._ring = mmap.mmap(-1, _SIZE) if path is None else _shared(path)
        self._written = memoryview(self._ring)[:_HEAD].cast("Q")
        self._read = 0
        self._banned: dict[bytes, float] = {}
        """In the order in which they end."""

    def __len__(self) -> int:
        self._catch_up()
        return len(self._banned)

    def check(self, pool: str, body: bytes) -> None:
        """Raises CrashesWorker. Costs next to nothing as long as nothing is banned."""
        if self._written[0] != self._read:
            self._catch_up()
        if not self._banned:
            return
        now = self._clock()
        while self._banned and next(iter(self._banned.values())) <= now:
            del self._banned[next(iter(self._banned))]
        until = self._banned.get(_digest(pool, body))
        if until is not None:
            raise CrashesWorker(
                f"Two workers were lost while they worked on this request; it is refused for {until - now:.0f} s more."
            )

    def ban(self, pool: str, body: bytes) -> None:
        number = self._written[0]
        _ENTRY.pack_into(self._ring, _place(number), _digest(pool, body), self._clock() + _SECONDS)
        self._written[0] = number + 1

    def _catch_up(self) -> None:
        """Take in what was banned since the last time, by whichever process."""
        written = self._written[0]
        for number in range(max(self._read, written - _ENTRIES), written):
            digest, until = _ENTRY.unpack_from(self._ring, _place(number))
            self._banned.pop(digest, None)
            if len(self._banned) >= _ENTRIES:
                del self._banned[next(iter(self._banned))]
            self._banned[digest] = until
        self._read = written


def _shared(path: Path) -> mmap.mmap:
    with path.open("a+b") as file:
        file.truncate(_SIZE)
        return mmap.mmap(file.fileno(), _SIZE)


def _place(number: int) -> int:
    return _HEAD + number % _ENTRIES * _ENTRY.size


def _digest(pool: str, body: bytes) -> bytes:
    return xxh3_128_digest(pool.encode() + b"\0" + body)

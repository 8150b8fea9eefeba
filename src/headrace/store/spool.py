"""Lines on disk that wait for the database: they survive the end of the process, however it comes.

A spool is a folder of segments. Each process appends to a segment of its own, which it holds locked; the lock goes with
the process, so that whoever finds a segment unlocked may take it over. What is written is in the system's cache at once
and survives ``kill -9``; ``sync`` carries it to the disk, for the end of the machine itself.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import ConfigError

_SUFFIX = ".segment"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Segment:
    """One file, locked by us until it is removed or closed."""

    path: Path
    descriptor: int
    size: int = 0
    created: float = 0.0
    """Seconds since 1970."""

    def lines(self) -> Iterator[bytes]:
        """The whole ones: what a crash, or a full disk, left behind of the last one is none. Raises OSError."""
        with open(self.path, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line[:-1]

    def sync(self) -> None:
        """Raises OSError."""
        os.fdatasync(self.descriptor)

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def close(self) -> None:
        os.close(self.descriptor)


class Spool:
    """``append``, ``swap`` and ``close`` belong to one thread; the others block on files, and may run in any."""

    def __init__(self, folder: Path, *, limit: int) -> None:
        """``limit`` (bytes) is for the whole folder, other processes' segments too, which are looked at by ``measure``.

        Raises ConfigError for a folder that cannot be written to.
        """
        self.dropped = 0
        """Lines that were not taken: the spool was full, or the disk."""
        self._folder = folder
        self._limit = limit
        self._rest = 0
        """Bytes of all other segments."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._active = self.prepare()
        except OSError as error:
            raise ConfigError(f"spool: {folder}: cannot be written to: {error.strerror}") from None
        self.measure()

    @property
    def size(self) -> int:
        """Bytes that wait, in all segments."""
        return self._rest + self._active.size

    @property
    def active(self) -> Segment:
        return self._active

    def append(self, lines: bytes) -> None:
        """Take whole lines, each with its line feed. Never fails: what cannot be kept is counted."""
        active, size = self._active, len(lines)
        if self._rest + active.size + size > self._limit:
            self.dropped += lines.count(b"\n")
            return
        try:
            written = os.write(active.descriptor, lines)
        except OSError as error:
            written = 0
            _log.error("the spool cannot be written to", extra={"reason": str(error)})
        whole = size if written == size else lines.rfind(b"\n", 0, written) + 1
        active.size += whole
        if written == size:
            return
        self.dropped += lines.count(b"\n", whole)
        if written > whole:  # the disk is full: without this the next line would be glued to half a one
            os.ftruncate(active.descriptor, active.size)

    def prepare(self) -> Segment:
        """A new, empty segment. Raises OSError."""
        now = time.time()
        path = self._folder / f"{int(now * 1000):014d}-{secrets.token_hex(4)}{_SUFFIX}"
        hidden = path.with_suffix(".new")  # nobody may find it before it is locked
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(path)
        except OSError:
            os.close(descriptor)
            raise
        return Segment(path, descriptor, created=now)

    def swap(self, segment: Segment) -> Segment:
        """Go on in this one; the former, which is complete now."""
        former, self._active = self._active, segment
        self._rest += former.size
        return former

    def adopt(self) -> Iterator[Segment]:
        """Take over the segments that no process holds, the oldest first."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            with suppress(OSError):  # somebody else was first, or has finished with it
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    status = os.fstat(descriptor)
                except OSError:
                    os.close(descriptor)
                    raise
                if status.st_nlink:
                    yield Segment(path, descriptor, status.st_size, status.st_mtime)
                else:
                    os.close(descriptor)

    def measure(self) -> None:
        """Look how much the others take."""
        rest = 0
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if path != self._active.path:
                with suppress(FileNotFoundError):
                    rest += path.stat().st_size
        self._rest = rest

    def close(self) -> None:
        """What waits stays on the disk, for the next process."""
        if self._active.size:
            self._active.close()
        else:
            self._active.remove()

"""The log file of one child: bounded, and at hand when the child fails."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

_LIMIT = 16 * 1024 * 1024
_TAIL_BYTES = 16 * 1024


class LogFile:
    """``api.log`` and one older generation, ``api.log.1``, of at most ``limit`` bytes each, give or take a second.

    The child writes to the file itself: no log line costs this process anything, and no child stops when it is gone.
    """

    def __init__(self, path: Path, limit: int = _LIMIT) -> None:
        self.path = path
        self._limit = limit

    def start(self) -> None:
        """Begin a new generation."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.path, self._older)

    def open(self) -> int:
        """A file descriptor to append to; the caller closes it. Other users may not read what services log."""
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def trim(self) -> None:
        """Move what is there to the older generation if it is too long.

        The child keeps its descriptor, so the file is copied and cut; a line written in between may be lost.
        """
        with contextlib.suppress(OSError):
            if self.path.stat().st_size <= self._limit:
                return
            try:
                shutil.copyfile(self.path, self._older)
            finally:  # the bound matters more than the copy: the disk may be full
                os.truncate(self.path, 0)

    def tail(self, lines: int = 20) -> list[str]:
        """The last lines, without control characters that could drive a terminal."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return []
        return ["".join(char for char in line if char.isprintable() or char == "\t") for line in text.splitlines()][
            -lines:
        ]

    @property
    def _older(self) -> Path:
        return self.path.with_name(f"{self.path.name}.1")

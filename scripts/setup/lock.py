"""One set-up of a checkout at a time: two terminals may run ``make`` at once."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file; wait, with a word, while another process holds it. It is freed when its process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("==> Waiting for another set-up of this checkout to end", flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield

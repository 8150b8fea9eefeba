"""What runs under one HEADRACE_HOME: `run.json`, and the lock that tells whether it is true."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from headrace.errors import ConfigError

_WAIT = 15.0
_PAUSE = 0.1


class RunningChild(msgspec.Struct, frozen=True):
    """One child as `run.json` shows it."""

    state: str
    pid: int | None
    url: str
    ops: str
    log: str
    restarts: int


class Run(msgspec.Struct, frozen=True):
    """The body of `run.json`. ``web`` is empty where llm-web does not run; ``ready`` is whether all children are."""

    pid: int
    version: str
    api: str
    web: str
    ready: bool
    children: dict[str, RunningChild]


class RunFile:
    """Held by the `headrace up` that owns a home; gone after a clean stop."""

    def __init__(self, home: Path) -> None:
        self.path = home / "run.json"
        self._lock_path = home / "run.lock"
        self._lock = -1

    @property
    def lock(self) -> int:
        """The descriptor of the lock. Whoever inherits it keeps the home taken."""
        return self._lock

    def acquire(
        self,
        waiting: Callable[[], None],
        *,
        timeout: float = _WAIT,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the home. Raises ConfigError if another `headrace up` has it.

        After a kill -9 of that one its guard holds the lock until the orphans are gone: that is waited for, up to
        ``timeout`` seconds, after a call of ``waiting``.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._try_lock():
            return
        run = _decode(self.path)
        if run is not None and _alive(run.pid):
            self._drop()
            raise ConfigError(
                f"headrace up already runs in {self.path.parent} (pid {run.pid}, {run.web or run.api}).\n"
                f"Stop it with: kill {run.pid}, or start a second one with another HEADRACE_HOME and other ports."
            )
        waiting()
        deadline = clock() + timeout
        while clock() < deadline:
            sleep(_PAUSE)
            if self._try_lock():
                return
        self._drop()
        raise ConfigError(f"{self._lock_path} is still held by the end of an earlier run; try again in a moment")

    def write(self, run: Run) -> None:
        draft = self.path.with_suffix(".json.tmp")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(run)) + b"\n")
        os.replace(draft, self.path)

    def release(self) -> None:
        self.path.unlink(missing_ok=True)
        self._drop()

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _drop(self) -> None:
        os.close(self._lock)
        self._lock = -1


def read(home: Path) -> Run | None:
    """What runs under ``home`` now; None if nothing does (a stale file counts as nothing)."""
    run = _decode(home / "run.json")
    return run if run is not None and _alive(run.pid) and _locked(home / "run.lock") else None


def _locked(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _decode(path: Path) -> Run | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""One process of several that serve the same port: as its parent sees it, and what it finds of its parent."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headrace.errors import WireError
from headrace.telemetry.snapshot import FamilySnapshot, lasting, merge
from headrace.wire.client import Origin, fetch

log = logging.getLogger(__name__)

_CHILD = "HEADRACE_CHILD"
_TIMEOUT = 5.0


@dataclass(frozen=True)
class FleetChild:
    """What a child of a fleet was given by its parent."""

    traffic: socket.socket
    ops: socket.socket
    parent: int


def child_of_fleet() -> FleetChild | None:
    """The sockets that this process inherited, if it is a child of a ``Fleet``."""
    numbers = os.environ.get(_CHILD, "")
    if not numbers:
        return None
    traffic, ops, parent = (int(number) for number in numbers.split(",", 3)[:3])
    return FleetChild(socket.socket(fileno=traffic), socket.socket(fileno=ops), parent)


def shared_folder() -> Path | None:
    """Where the processes of a ``Fleet`` may keep what they share; it ends with them. None for a process alone."""
    numbers = os.environ.get(_CHILD, "")
    return Path(numbers.split(",", 3)[3]) if numbers else None


class Child:
    """The place of one process: its sockets, which outlive it, the process that has them, and what it has counted."""

    def __init__(self, command: Sequence[str], traffic: socket.socket, path: Path) -> None:
        """``path``: of the Unix socket on which it is asked."""
        self.traffic = traffic
        self.started = 0.0
        self._command = command
        self._folder = path.parent
        self._origin = Origin("http://child", unix_path=str(path))
        self._process: subprocess.Popen[bytes] | None = None
        self._told: list[FamilySnapshot] = []
        """What the process said last; if it dies, its counts live on in ``_past``."""
        self._past: list[FamilySnapshot] = []
        self._ops = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ops.bind(str(path))
        self._ops.setblocking(False)

    def spawn(self, alive: int) -> None:
        """Start the process, or another in the place of one that ended. ``alive`` ends with us."""
        self._past = merge([self._past, lasting(self._told)])
        self._told = []
        descriptors = (self.traffic.fileno(), self._ops.fileno(), alive)
        environment = {**os.environ, _CHILD: ",".join(map(str, (*descriptors, self._folder)))}
        self.started = time.monotonic()
        # A group of its own: Ctrl-C is for the parent, which then drains the children.
        self._process = subprocess.Popen(self._command, env=environment, pass_fds=descriptors, process_group=0)  # noqa: S603

    def ended(self) -> int | None:
        """The exit code; None while it runs."""
        return None if self._process is None else self._process.poll()

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def close(self) -> None:
        self._origin.close()
        self._ops.close()
        self.traffic.close()

    async def unready(self) -> str | None:
        """Why it takes nothing; None if it does."""
        try:
            answer = await fetch(self._origin, "GET", "/readyz", timeout=_TIMEOUT)
        except WireError as error:
            return f"a process does not answer: {error}"
        return None if answer.status == 200 else answer.body.decode().strip()

    async def metrics(self) -> list[FamilySnapshot]:
        """Of this process and of those before it: what was counted once is counted for ever."""
        process = self._process
        document = await self.ask("/debug/metrics")
        if document is not None and process is self._process:
            self._told = msgspec.json.decode(document, type=list[FamilySnapshot])
        return merge([self._past, self._told])

    async def ask(self, path: str) -> bytes | None:
        try:
            answer = await fetch(self._origin, "GET", path, timeout=_TIMEOUT)
        except WireError as error:
            log.warning("a process does not answer", extra={"error": str(error)})
            return None
        return answer.body if answer.status == 200 else None

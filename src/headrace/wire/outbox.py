"""What one turn of the event loop writes goes out together at its end.

A write wakes the one who waits for it, and on a machine without an idle core it takes ours at once: in the middle of a
turn that has other requests to serve. They then begin with cold caches, which costs more than the request itself. So
everything that was read in a turn is served first, and everything that comes of it is written afterwards.

What must be safe before any of it leaves (usage, on its way to the disk) is done in between, once for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

_MOST = 16
"""Peers that are kept waiting at most: the first one must not pay for all that are served after it."""

_LARGEST = 64 * 1024
"""Bytes for one peer that wait: whoever writes without end has to see that it is not taken."""


class Outlet:
    """In place of a transport: what is written to it waits for the end of the turn."""

    __slots__ = ("write",)

    def __init__(self, outbox: Outbox, transport: asyncio.WriteTransport) -> None:
        self.write: Callable[[bytes], None] = partial(outbox.write, transport)


class Outbox:
    """Of one event loop. Whoever closes a transport, or waits until it has taken something, calls ``flush`` before."""

    __slots__ = ("_first", "_scheduled", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[asyncio.WriteTransport, bytes] = {}
        self._first: dict[Callable[[], None], None] = {}
        self._scheduled = False

    def write(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        """Send ``data`` at the end of the turn, behind what waits for the same transport already."""
        waiting = self._waiting
        waiting[transport] = data = waiting.get(transport, b"") + data
        if not self._scheduled:
            self._schedule()
        if len(data) > _LARGEST or len(waiting) >= _MOST:
            self.flush()

    def first(self, call: Callable[[], None]) -> None:
        """Call ``call``, once, before anything is sent that was written in this turn."""
        self._first[call] = None
        if not self._scheduled:
            self._schedule()

    def flush(self) -> None:
        """Send what waits."""
        self._scheduled = False
        if self._first:
            first, self._first = self._first, {}
            for call in first:
                call()
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for transport, data in waiting.items():
                if not transport.is_closing():
                    transport.write(data)

    def _schedule(self) -> None:
        self._scheduled = True
        asyncio.get_running_loop().call_soon(self.flush)

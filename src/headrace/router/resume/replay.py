"""What was sent of running streams, kept so that a broken one can be resumed.

The happy path pays for a list's ``append`` and an addition: nothing is decoded before a stream breaks.
"""

from __future__ import annotations

_OVERHEAD = 48
"""Bytes that a small ``bytes`` and its place in a list take besides what is in it."""


class ReplayMemory:
    """The memory of all replays of this process, in bytes."""

    __slots__ = ("capacity", "used")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0

    def open(self, body: int) -> Replay | None:
        """A replay for a stream that begins; ``body``: the size of its request, which is kept too. None: no room."""
        if self.used + body > self.capacity:
            return None
        return Replay(self, body)


class Replay:
    """The events of one stream, as the client got them. ``close`` must be called whatever happens."""

    __slots__ = ("_events", "_memory", "_size", "complete")

    def __init__(self, memory: ReplayMemory, size: int) -> None:
        self.complete = True
        """False if the memory was full meanwhile: what was kept is gone, and the stream cannot be resumed."""
        self._events: list[bytes] = []
        self._memory = memory
        self._size = size
        memory.used += size

    @property
    def length(self) -> int:
        """Pieces that were kept; about one for each event."""
        return len(self._events)

    def keep(self, events: bytes) -> bytes:
        """A relay's ``on_events``: takes whole events, gives the same."""
        size = len(events) + _OVERHEAD
        memory = self._memory
        memory.used += size
        self._size += size
        if memory.used > memory.capacity:
            self._forget()
        elif self.complete:
            self._events.append(events)
        return events

    def events(self) -> bytes:
        """Everything that was kept."""
        return b"".join(self._events)

    def close(self) -> None:
        """Give the memory back."""
        self._memory.used -= self._size
        self._size = 0
        self._events = []

    def _forget(self) -> None:
        self.complete = False
        self.close()

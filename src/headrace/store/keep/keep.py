"""The interface of the backends."""

from __future__ import annotations

from typing import Protocol


class Keep(Protocol):
    """Small values by name, each until its time is over. Every method may raise StoreError."""

    async def claim(self, name: str, mark: bytes, seconds: float) -> bytes | None:
        """Put ``mark`` there if nothing is, in one step; else what is there. ``extend`` it while the work goes on."""

    async def get(self, name: str) -> bytes | None:
        """What is there."""

    async def put(self, name: str, value: bytes, seconds: float) -> None:
        """Replace what is there. Where there is no room, something older goes, or ``value`` is not kept."""

    async def extend(self, name: str, seconds: float) -> None:
        """Keep what is there for so long from now on."""

    async def drop(self, name: str) -> None:
        """Forget it."""

    async def close(self) -> None: ...

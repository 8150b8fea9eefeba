"""All children together: up at the same time, down in the right order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headrace.local.child import Child, State


class Supervisor:
    """Runs ``tiers`` of children.

    They start at the same time, since each of them waits for what it needs by itself. They stop tier by tier, the
    one next to the clients first, so that nothing that is still being answered loses what stands behind it.
    """

    def __init__(self, tiers: Sequence[Sequence[Child]], *, drain_timeout: float) -> None:
        """``drain_timeout``: seconds that each tier gets to finish what runs."""
        self.children = [child for tier in tiers for child in tier]
        self._tiers = tiers
        self._drain_timeout = drain_timeout
        self._tasks: list[asyncio.Task[None]] = []
        self._moved = asyncio.Event()
        self._stop_asked = asyncio.Event()

    def changed(self) -> None:
        """To be called when a child changed."""
        self._moved.set()

    def start(self) -> None:
        self._tasks = [asyncio.create_task(child.run(), name=child.program.name) for child in self.children]
        for task in self._tasks:
            task.add_done_callback(lambda _: self._moved.set())

    async def ready(self) -> bool:
        """Wait until every child is ready. False if one was given up, or if a stop was asked for before."""
        while not self._over():
            if all(child.state is State.READY for child in self.children):
                return True
            await self._movement()
        return False

    async def over(self) -> None:
        """Wait until a stop is asked for or a child is given up."""
        while not self._over():
            await self._movement()

    def ask_stop(self) -> bool:
        """Let ``ready`` and ``over`` return. True if this was asked before."""
        again = self._stop_asked.is_set()
        self._stop_asked.set()
        self._moved.set()
        return again

    def kill(self) -> None:
        """End every child now."""
        for child in self.children:
            child.kill()

    async def stop(self) -> list[Child]:
        """Stop the tiers one after another. Returns the children that had to be killed."""
        killed: list[Child] = []
        for tier in self._tiers:
            ended = await asyncio.gather(*(child.stop(self._drain_timeout) for child in tier))
            killed += [child for child, by_itself in zip(tier, ended, strict=True) if not by_itself]
        await asyncio.gather(*self._tasks)
        return killed

    @property
    def failed(self) -> list[Child]:
        return [child for child in self.children if child.state is State.FAILED]

    def _over(self) -> bool:
        for task in self._tasks:
            if task.done():
                task.result()  # a defect in the watching of a child must not look like a long start
        return self._stop_asked.is_set() or bool(self.failed)

    async def _movement(self) -> None:
        self._moved.clear()
        await self._moved.wait()

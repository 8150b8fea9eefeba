"""Who is there: makes, watches and drops workers as discovery names them, and puts them into their pools."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

from headrace.router.discovery.target import ANY, Source, Target, merge
from headrace.router.flow.queue import PoolQueue
from headrace.router.worker import State, Worker

log = logging.getLogger(__name__)


class Watched:
    """A worker, and the task that looks at it."""

    __slots__ = ("explicit", "task", "worker")

    def __init__(self, worker: Worker, explicit: frozenset[str]) -> None:
        self.worker = worker
        self.explicit = explicit
        """Pools that it was named for: it stands in these also while it is not seen to serve them."""
        self.task: asyncio.Task[None] | None = None


class Roster:
    """All workers of this process, whatever source named them."""

    def __init__(
        self,
        pools: Mapping[str, PoolQueue],
        watch: Callable[[Worker], Coroutine[Any, Any, None]],
        *,
        shares: int,
    ) -> None:
        """``watch`` looks at a worker until it is cancelled, and calls ``looked`` after each look."""
        self._pools = pools
        self._watch = watch
        self._shares = shares
        self._named: dict[object, Collection[Target]] = {}
        self._watched: dict[str, Watched] = {}
        self._ended: set[asyncio.Task[None]] = set()

    @property
    def workers(self) -> list[Worker]:
        return [watched.worker for watched in self._watched.values()]

    def __len__(self) -> int:
        return len(self._watched)

    def share(self, shares: int) -> None:
        """That many processes and replicas of the router share the workers' slots from now on."""
        self._shares = shares
        for worker in self.workers:
            worker.share(shares)

    def publish(self, source: object, targets: Collection[Target]) -> None:
        """``source`` knows of exactly these now. What no source names any more drains; once idle it is dropped."""
        self._named[source] = targets
        named = merge([target for known in self._named.values() for target in known])
        for name, target in named.items():
            watched = self._watched.get(name)
            if watched is not None and watched.worker.ops_origin is None and target.ops_url:
                self._drop(name)
                watched = None
            if watched is None:
                self._enter(target)
            else:
                self._keep(watched, target)
        for name, watched in list(self._watched.items()):
            if name not in named and not watched.worker.leaving:
                log.info("worker leaves", extra={"worker": name, "in_flight": watched.worker.in_flight})
                watched.worker.leaving = True
                watched.worker.turn(State.DRAINING, "discovery does not name it any more")
        self.tidy()

    async def follow(self, source: Source) -> None:
        """Hear what ``source`` says, until this is cancelled."""
        await source.run(lambda targets: self.publish(source, targets))

    def looked(self, worker: Worker) -> None:
        """After a look: a worker that is there for any pool joins those that it serves."""
        watched = self._watched.get(worker.name)
        if watched is not None and watched.worker is worker:
            self._place(watched)

    def tidy(self) -> None:
        """Drop those that left and have nothing more to do; call it now and then."""
        for name, watched in list(self._watched.items()):
            if watched.worker.leaving and not watched.worker.in_flight:
                self._drop(name)

    async def close(self) -> None:
        for name in list(self._watched):
            self._drop(name)
        await asyncio.gather(*self._ended, return_exceptions=True)

    def _enter(self, target: Target) -> None:
        worker = Worker(target.url, target.ops_url, pools=self._pools_of(target), shares=self._shares)
        watched = Watched(worker, target.models - {ANY})
        self._watched[worker.name] = watched
        self._place(watched)
        watched.task = asyncio.create_task(self._watch(worker))

    def _keep(self, watched: Watched, target: Target) -> None:
        worker = watched.worker
        worker.pools, watched.explicit = self._pools_of(target), target.models - {ANY}
        if worker.leaving:
            worker.leaving = False
            worker.turn(State.UNKNOWN, "discovery names it again")
        self._place(watched)

    def _place(self, watched: Watched) -> None:
        worker = watched.worker
        for name, pool in self._pools.items():
            if name in watched.explicit or (name in worker.pools and name in worker.models):
                pool.join(worker)
            else:
                pool.part(worker)

    def _pools_of(self, target: Target) -> frozenset[str]:
        return frozenset(self._pools) if ANY in target.models else target.models

    def _drop(self, name: str) -> None:
        watched = self._watched.pop(name)
        for pool in self._pools.values():
            pool.part(watched.worker)
        if watched.task is not None:
            watched.task.cancel()
            self._ended.add(watched.task)
            watched.task.add_done_callback(self._ended.discard)
        watched.worker.close()

"""The bounded queue of one pool.

A request is admitted as soon as a ready worker has a free slot; until then it waits here and not inside a worker,
where nobody could still choose another one for it. First come, first served; those whose worker was lost came first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from headrace.errors import DeadlineExceeded, Overloaded
from headrace.router.flow.drain_rate import DrainRate
from headrace.router.scheduling.scheduler import Scheduler
from headrace.router.ticket import Ticket
from headrace.router.worker import State, Worker


@dataclass(eq=False, slots=True)
class _Waiter:
    ticket: Ticket
    avoid: Collection[Worker]
    granted: asyncio.Future[Worker] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class PoolQueue:
    """Admission to the workers of one pool."""

    def __init__(
        self,
        name: str,
        workers: list[Worker],
        scheduler: Scheduler,
        *,
        capacity: int,
        shares: int,
        cold_wait: float,
        clock: Callable[[], float],
    ) -> None:
        """``shares``: processes that share the workers' slots and ``capacity``, the requests that may wait.

        ``cold_wait``: seconds to wait for a first worker.
        """
        self.name = name
        self.workers = workers
        self._scheduler = scheduler
        self._capacity = -(-capacity // shares)
        self._shares = shares
        self._cold_wait = cold_wait
        self._clock = clock
        self._waiting: deque[_Waiter] = deque()
        self._drain_rate = DrainRate()
        self._running = 0
        self._cold_since: float | None = clock()
        self._ready: list[Worker] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def wait_estimate(self) -> float:
        """Seconds that a request would wait if it came now."""
        if not self._waiting and any(self._has_room(worker) for worker in self._ready):
            return 0.0
        return self._drain_rate.retry_after(len(self._waiting), self._clock())

    def try_admit(self, ticket: Ticket, avoid: Collection[Worker] = ()) -> Worker | None:
        """A worker with a slot taken for ``ticket``, one in ``avoid`` only if there is no other; None: ``wait``.

        Every worker that comes from here or from ``wait`` must be given back by one ``release``.
        """
        return None if self._waiting else self._choose(ticket, avoid)

    def release(self, worker: Worker, ticket: Ticket, *, finished: bool) -> None:
        """Give the slot back. ``finished``: the request was answered, so that it counts for the drain rate."""
        worker.end(ticket)
        self._running -= 1
        if finished:
            self._drain_rate.record(self._clock())
        if self._waiting:
            self._dispatch()

    def changed(self) -> None:
        """Call when a worker's state or load is not what it was."""
        self._ready = [worker for worker in self.workers if worker.state is State.READY]
        if self._ready:
            self._cold_since = None
        elif self._cold_since is None:
            self._cold_since = self._clock()
        self._dispatch()

    def expire(self) -> None:
        """Refuse those who waited for a worker that does not come; call it now and then."""
        if self._cold_for() > self._cold_wait:
            for waiter in self._waiting:
                if not waiter.granted.done():
                    waiter.granted.set_exception(self._no_worker())

    def _choose(self, ticket: Ticket, avoid: Collection[Worker]) -> Worker | None:
        ready = [worker for worker in self._ready if self._has_room(worker)]
        if avoid:
            ready = [worker for worker in ready if worker not in avoid] or ready
        if not ready:
            return None
        worker = self._scheduler.pick(ticket, ready)
        worker.begin(ticket)
        if not self._running:
            self._drain_rate.resume(ticket.arrived)
        self._running += 1
        return worker

    def _has_room(self, worker: Worker) -> bool:
        load = worker.load
        if self._shares == 1:
            return worker.in_flight < load.max_running
        # Our share, or what we had plus our share of what nobody used: an idle neighbour's slots are not left empty.
        unused = max(0, load.max_running - load.running - load.waiting)
        share, spare = -(-load.max_running // self._shares), -(-unused // self._shares)
        return worker.in_flight < min(load.max_running, max(share, worker.in_flight_then + spare))

    async def wait(self, ticket: Ticket, avoid: Collection[Worker] = ()) -> Worker:
        """As ``try_admit``, as soon as there is a slot.

        A request with workers to avoid was admitted before: it goes ahead of the others, however many they are.
        Raises Overloaded when the queue is full or no worker is in sight, DeadlineExceeded when the wait was too long.
        """
        now = self._clock()
        if len(self._waiting) >= self._capacity and not avoid:
            retry_after = self._drain_rate.retry_after(len(self._waiting), now)
            raise Overloaded(f"All workers of {self.name} are busy and the queue is full.", retry_after=retry_after)
        if self._cold_for() > self._cold_wait:
            raise self._no_worker()
        waiter = _Waiter(ticket, avoid)
        if avoid:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        taken = False
        try:
            async with asyncio.timeout(ticket.deadline - now):
                worker = await waiter.granted
            taken = True
            return worker
        except TimeoutError:
            raise DeadlineExceeded(f"No worker of {self.name} was free before the deadline.") from None
        finally:
            if not taken:
                self._forget(waiter)

    def _forget(self, waiter: _Waiter) -> None:
        """The one who waited is gone; what was granted to it in the same moment goes back."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        granted = waiter.granted
        if not granted.done():
            granted.cancel()
        elif not granted.cancelled() and granted.exception() is None:
            self.release(granted.result(), waiter.ticket, finished=False)

    def _dispatch(self) -> None:
        while self._waiting:
            waiter = self._waiting[0]
            if waiter.granted.done():
                self._waiting.popleft()
                continue
            worker = self._choose(waiter.ticket, waiter.avoid)
            if worker is None:
                return
            self._waiting.popleft()
            waiter.granted.set_result(worker)

    def _cold_for(self) -> float:
        return 0.0 if self._cold_since is None else self._clock() - self._cold_since

    def _no_worker(self) -> Overloaded:
        reasons = "; ".join(f"{worker.name}: {worker.reason or worker.state}" for worker in self.workers[:3])
        message = f"No worker of {self.name} is ready" + (f" ({reasons})." if reasons else ".")
        return Overloaded(message, code="no_worker", retry_after=5)

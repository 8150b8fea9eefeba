"""The bounded queue of one pool, and admission to its workers.

A request is admitted as soon as a ready worker has a free slot, room in its KV cache, and less than the tenant's share
of it is the tenant's; until then it waits here and not inside a worker, where nobody could still choose another one for
it. Who is next: those whose worker was lost, then by priority (``bands``), then by fairness between tenants (``fair``),
then first come, first served.

Everything but ``PoolQueue.wait`` is free of asyncio and reads only the clock that it was given, so that the same code
runs in virtual time.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

from headrace.errors import ApiError, DeadlineExceeded, Overloaded
from headrace.router.flow.bands import Bands
from headrace.router.flow.drain_rate import DrainRate
from headrace.router.flow.open import OpenWorkers
from headrace.router.scheduling.scheduler import SHORTLIST, Scheduler
from headrace.router.ticket import Ticket
from headrace.router.worker import State, Worker

TENANT_SHARE = 0.5
_TRIED_HEADS = 8
"""Requests that are looked at for a free slot, where the first of them may not go to any open worker."""


class Waiter:
    """A request in the queue."""

    __slots__ = ("avoid", "band", "granted", "refused", "since", "tenant", "ticket", "work")

    def __init__(
        self,
        ticket: Ticket,
        avoid: Collection[Worker],
        granted: Callable[[Worker], None],
        refused: Callable[[ApiError], None],
        since: float,
    ) -> None:
        """Exactly one of ``granted`` and ``refused`` is called, at most once, unless it leaves before."""
        self.ticket = ticket
        self.avoid = avoid
        self.granted = granted
        self.refused = refused
        self.since = since
        self.band = ticket.priority
        self.tenant = ticket.tenant
        self.work = ticket.work


class PoolQueue:
    """Admission to the workers of one pool."""

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        *,
        capacity: int,
        cold_wait: float,
        clock: Callable[[], float],
        workers: Iterable[Worker] = (),
        tenant_share: float = TENANT_SHARE,
    ) -> None:
        """``capacity``: requests that may wait; ``cold_wait``: seconds to wait for a first worker; ``tenant_share``:
        of a worker, for a tenant that is not alone there.
        """
        self.name = name
        self.workers: dict[Worker, bool] = {}
        """The members; True: it is ready to serve this pool, be it full or not."""
        self.scheduler = scheduler
        self.held_back = 0
        """Requests that were next, but whose tenant had its share of every worker with room."""
        self._tenant_share = tenant_share
        self._capacity = capacity
        self._cold_wait = cold_wait
        self._clock = clock
        self._bands: Bands[Waiter] = Bands()
        self._returned: deque[Waiter] = deque()
        """Those that were admitted before and lost their worker."""
        self._open = OpenWorkers()
        self._drain_rate = DrainRate()
        self._running = 0
        self._ready = 0
        self._cold_since: float | None = clock()
        self._dispatching = False
        for worker in workers:
            self.join(worker)

    # ---- what it looks like ----

    @property
    def waiting(self) -> int:
        return len(self._bands) + len(self._returned)

    @property
    def running(self) -> int:
        """Requests of this pool that workers work on."""
        return self._running

    def depths(self) -> list[int]:
        """How many wait in each priority band."""
        depths = self._bands.depths()
        for waiter in self._returned:
            depths[waiter.band] += 1
        return depths

    def wait_estimate(self) -> float:
        """Seconds that a request would wait if it came now."""
        if not self.waiting and self._open.workers:
            return 0.0
        return self._drain_rate.retry_after(self.waiting, self._clock())

    def resize(self, capacity: int) -> None:
        """So many may wait from now on; who waits already stays."""
        self._capacity = capacity

    # ---- the workers ----

    def join(self, worker: Worker) -> None:
        """``worker`` serves this pool from now on."""
        if worker not in self.workers:
            self.workers[worker] = False
            worker.lines.append(self)
            self.updated(worker)

    def part(self, worker: Worker) -> None:
        """``worker`` serves this pool no longer; what it still has of it is finished."""
        if worker not in self.workers:
            return
        self._ready -= self.workers.pop(worker)
        worker.lines.remove(self)
        self._open.set(worker, False)
        self.scheduler.forget(worker)
        self._note_cold()

    def updated(self, worker: Worker) -> None:
        """A ``Line``: its state, its load or its free slots are not what they were."""
        ready = worker.state is State.READY and self.name in worker.models
        self._ready += ready - self.workers[worker]
        self.workers[worker] = ready
        self._open.set(worker, worker.accepts(self.name))
        self._note_cold()
        if self.waiting:
            self._dispatch()

    def forget(self, worker: Worker) -> None:
        """A ``Line``: what was learned of the worker is void."""
        self.scheduler.forget(worker)

    # ---- the requests ----

    def try_admit(self, ticket: Ticket, avoid: Collection[Worker] = ()) -> Worker | None:
        """A worker with a slot taken for ``ticket``, one in ``avoid`` only if there is no other; None: ``wait``.

        Every worker that comes from here or from ``wait`` must be given back by one ``release``.
        """
        if self._bands.size or self._returned:
            return None
        worker, _ = self._choose(ticket, avoid)
        if worker is not None and not avoid:
            self._bands.charge(ticket.priority, ticket.tenant, ticket.work)
        return worker

    def enqueue(
        self,
        ticket: Ticket,
        avoid: Collection[Worker],
        granted: Callable[[Worker], None],
        refused: Callable[[ApiError], None],
    ) -> Waiter:
        """Wait for a slot; it may be granted at once. Call ``leave`` at the deadline, or when the client is gone.

        A request with workers to avoid was admitted before: it goes ahead of the others, however many they are.
        Raises Overloaded when the queue is full, no worker is in sight, or the deadline cannot be kept.
        """
        now = self._clock()
        if self._cold_for() > self._cold_wait:
            raise self._no_worker()
        waiter = Waiter(ticket, avoid, granted, refused, now)
        if avoid:
            self._returned.append(waiter)
        else:
            self._demand_room(waiter, now)
            self._bands.push(waiter)
        if self._open.workers:  # others wait for what this one does not need
            self._dispatch()
        return waiter

    def leave(self, waiter: Waiter) -> bool:
        """Wait no longer. False if it was granted or refused before."""
        if waiter in self._returned:
            self._returned.remove(waiter)
            return True
        return self._bands.remove(waiter)

    def answered(self, worker: Worker, ticket: Ticket, *, stream: bool) -> None:
        """The first byte of the answer is here; of one that does not ``stream``, all of it."""
        worker.answered(ticket)
        if ticket.inputs is not None or self.scheduler.logs is not None:
            seconds = self._clock() - ticket.dispatched
            self.scheduler.answered(worker, ticket, seconds, 0 if stream else ticket.output_tokens)

    def release(self, worker: Worker, ticket: Ticket, *, finished: bool) -> None:
        """Give the slot back. ``finished``: the request was answered, so that it counts for the drain rate."""
        self._running -= 1
        if finished:
            now = self._clock()
            self._drain_rate.record(now)
            worker.failures, worker.progress_at = 0, now
        worker.end(ticket)
        if self._bands.size or self._returned:
            self._dispatch()

    def expire(self) -> None:
        """Refuse those who waited for a worker that does not come; call it now and then."""
        if self._cold_for() > self._cold_wait:
            while self.waiting:
                waiter = self._returned[0] if self._returned else next(self._bands.next(1))
                self.leave(waiter)
                waiter.refused(self._no_worker())

    async def wait(self, ticket: Ticket, avoid: Collection[Worker] = ()) -> Worker:
        """As ``try_admit``, as soon as there is a slot. Raises as ``enqueue``, and DeadlineExceeded."""
        slot: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()

        def grant(worker: Worker) -> None:
            if slot.done():  # cancelled, and not yet run to leave
                self.release(worker, ticket, finished=False)
            else:
                slot.set_result(worker)

        def refuse(error: ApiError) -> None:
            if not slot.done():
                slot.set_exception(error)

        waiter = self.enqueue(ticket, avoid, grant, refuse)
        taken = False
        try:
            async with asyncio.timeout(ticket.deadline - self._clock()):
                worker = await slot
            taken = True
            return worker
        except TimeoutError:
            raise DeadlineExceeded(f"No worker of {self.name} was free before the deadline.") from None
        finally:
            # What was granted in the moment of a cancellation goes back.
            if not taken and not self.leave(waiter) and not slot.cancelled() and slot.exception() is None:
                self.release(slot.result(), ticket, finished=False)

    # ---- inside ----

    def _demand_room(self, waiter: Waiter, now: float) -> None:
        """Raises Overloaded for a request that would wait in vain.

        In a full queue the newest request of the tenant with the most in the band gives its place to one of a tenant
        with less (buffer stealing: McKenney, "Stochastic fairness queueing", 1990): nobody can fill the queue alone.
        """
        victim = None
        if self.waiting >= self._capacity:
            victim = self._bands.surplus(waiter.band, waiter.tenant)
            if victim is None:
                raise self._full(now)
        ahead = len(self._returned) + self._bands.ahead(waiter.band, waiter.tenant)
        expected = self._drain_rate.wait(ahead, now)
        if now + expected > waiter.ticket.deadline > now:
            raise Overloaded(
                f"All workers of {self.name} are busy: the answer would begin in about {expected:.0f} s, "
                "after the request's deadline.",
                code="deadline_unreachable",
                retry_after=self._drain_rate.retry_after(ahead, now),
            )
        if victim is not None:
            self._bands.remove(victim)
            victim.refused(self._full(now))

    def _full(self, now: float) -> Overloaded:
        retry_after = self._drain_rate.retry_after(self.waiting, now)
        return Overloaded(f"All workers of {self.name} are busy and the queue is full.", retry_after=retry_after)

    def _choose(self, ticket: Ticket, avoid: Collection[Worker]) -> tuple[Worker | None, bool]:
        """A worker, with a slot taken; or None, and whether others may go ahead of a request that fits nowhere."""
        candidates: Collection[Worker] = self._open.workers
        if not candidates:
            return None, False
        with_room: Sequence[Worker] = ()
        share = math.inf if avoid else self._tenant_share
        if avoid:
            candidates = [worker for worker in candidates if worker not in avoid] or candidates
        elif len(candidates) > SHORTLIST:
            with_room = _with_room(self.scheduler.shortlist(ticket, self._open.workers), ticket, share)
        with_room = with_room or _with_room(candidates, ticket, share)
        if not with_room:
            return None, self._is_held_back(ticket, candidates)
        fitting = self.scheduler.keep(ticket, with_room, self.workers)
        if not fitting:
            return None, True
        ticket.dispatched = now = self._clock()
        worker = self.scheduler.pick(ticket, fitting, now)
        if not self._running:
            self._drain_rate.resume(now)
        self._running += 1
        if not worker.in_flight:
            worker.progress_at = now
        worker.begin(ticket)
        return worker, False

    def _is_held_back(self, ticket: Ticket, workers: Collection[Worker]) -> bool:
        """Whether it is only for its tenant's share that none of the workers takes it; it is counted then, once."""
        if not _with_room(workers, ticket, math.inf):
            return False
        if not ticket.held_back:
            ticket.held_back = True
            self.held_back += 1
        return True

    def _dispatch(self) -> None:
        """Hand out what slots there are. Choosing may tell the queue of a worker that is full now: not again then."""
        if self._dispatching:
            return
        self._dispatching = True
        try:
            while self._open.workers and self._dispatch_one():
                pass
        finally:
            self._dispatching = False

    def _dispatch_one(self) -> bool:
        while self._returned:
            waiter = self._returned[0]
            worker, _ = self._choose(waiter.ticket, waiter.avoid)
            if worker is None:
                break
            self._returned.popleft()
            waiter.granted(worker)
            return True
        for waiter in self._bands.next(_TRIED_HEADS):
            worker, others = self._choose(waiter.ticket, waiter.avoid)
            if worker is not None:
                self._bands.take(waiter)
                waiter.granted(worker)
                return True
            if not others:
                return False
        return False

    def _note_cold(self) -> None:
        if self._ready:
            self._cold_since = None
        elif self._cold_since is None:
            self._cold_since = self._clock()

    def _cold_for(self) -> float:
        return 0.0 if self._cold_since is None else self._clock() - self._cold_since

    def _no_worker(self) -> Overloaded:
        reasons = "; ".join(f"{worker.name}: {worker.reason or worker.state}" for worker in list(self.workers)[:3])
        message = f"No worker of {self.name} is ready" + (f" ({reasons})." if reasons else ".")
        return Overloaded(message, code="no_worker", retry_after=5)


def _with_room(workers: Collection[Worker], ticket: Ticket, share: float) -> list[Worker]:
    """Those whose KV cache takes the request, and those that have nothing: a worker alone with it must try.

    None on which the request's tenant has its ``share``.
    """
    work, tenant = ticket.work, ticket.tenant
    return [
        worker
        for worker in workers
        if (worker.kv_room >= work or not worker.in_flight)
        and (tenant not in worker.held or worker.within(tenant, share))
    ]

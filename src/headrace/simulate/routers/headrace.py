"""Our router: the pool's queue, its scheduler and profile, and the workers' books are the router's own code.

What ``router.delivery``, ``health`` and ``journey`` do with connections is modelled: a look at each worker's ``/load``
every half second, a worker that is lost is down until a look finds it again, and what it had goes on elsewhere, with
the part of the answer that is there already (resume).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from headrace.api.cost import Estimator
from headrace.errors import ApiError
from headrace.router.flow.queue import PoolQueue
from headrace.router.scheduling import profiles
from headrace.router.ticket import Ticket
from headrace.router.worker import State, Worker
from headrace.simulate.engine import POOL, Engine
from headrace.simulate.request import Request
from headrace.simulate.text import header
from headrace.simulate.timeline import Timeline
from headrace.wire import contract

QUEUE = 1024
"""Requests that may wait, in all routers together: the router's default."""
_COLD_WAIT = 20.0
_LOOK = 0.5
"""Seconds between two looks at a worker."""
_SLICES = 10
"""The looks of one router are spread over so many moments."""
_TRIES = 4


class Headrace:
    """One replica of the router. A ``Router``."""

    def __init__(
        self,
        timeline: Timeline,
        engines: Sequence[Engine],
        estimator: Estimator,
        over: Callable[[Request], None],
        rng: random.Random,
        *,
        profile: str,
        own: Mapping[str, Mapping[str, float]],
        replicas: int,
    ) -> None:
        """``estimator``: llm-api's; ``own``: profiles of the configuration, beside ours."""
        self.in_flight = 0
        self.workers = [Worker(engine.url, engine.url, pools=[POOL], shares=replicas) for engine in engines]
        self.engines = dict(zip(self.workers, engines, strict=True))
        self.timeline = timeline
        self.over = over
        scheduler = profiles.build(profile, own, rng)
        capacity = -(-QUEUE // replicas)
        self.queue = PoolQueue(POOL, scheduler, capacity=capacity, cold_wait=_COLD_WAIT, clock=timeline.clock)
        self._estimator = estimator
        for worker in self.workers:
            self._look(worker)
            self.queue.join(worker)
        for number in range(_SLICES):
            timeline.after(_LOOK * rng.random(), lambda mine=self.workers[number::_SLICES]: self._looks(mine))  # type: ignore[misc]

    def arrive(self, request: Request) -> None:
        self.in_flight += 1
        cost = self._estimator.estimate(POOL, request.size)
        fields = {
            contract.MODEL: POOL.encode(),
            contract.TENANT: request.tenant.encode(),
            contract.SESSION: request.session.encode(),
            contract.COST: cost.header(),
            contract.PREFIX_BLOCKS: header(request.prompt.keys),
        }
        _Journey(self, request, Ticket(fields, self.timeline.now)).attempt()

    def crashed(self, engine: Engine) -> None:
        """Those of our requests that it has tell us; who has none there learns of it at a look, or by a refusal."""

    def restarted(self, engine: Engine) -> None:
        """The next look finds it."""

    def finish(self, request: Request) -> None:
        """It is over."""
        self.in_flight -= 1
        if not request.failed:
            self._estimator.learn(POOL, request.size, request.prompt.tokens, sequences=1, output_tokens=request.output)
        self.over(request)

    def _looks(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            self._look(worker)
        self.timeline.after(_LOOK, lambda: self._looks(workers))

    def _look(self, worker: Worker) -> None:
        engine = self.engines[worker]
        if not engine.alive:
            worker.turn(State.DOWN, "nobody listens")
            return
        worker.observe(engine.load())
        worker.turn(State.READY)


class _Journey:
    """One request on its way. A ``Listener`` of the engine that it is with."""

    def __init__(self, router: Headrace, request: Request, ticket: Ticket) -> None:
        self._router = router
        self._request = request
        self._ticket = ticket
        self._tried: tuple[Worker, ...] = ()
        self._worker: Worker | None = None
        self._began = 0.0
        """When the first token of this attempt came; 0 before."""
        self._produced = 0

    def attempt(self) -> None:
        queue = self._router.queue
        worker = queue.try_admit(self._ticket, self._tried)
        if worker is not None:
            self._go(worker)
            return
        try:
            queue.enqueue(self._ticket, self._tried, self._go, self._refused)
        except ApiError as error:
            self._refused(error)

    def began(self) -> None:
        assert self._worker is not None
        self._began = self._router.timeline.now
        self._request.first = min(self._request.first, self._began)
        self._router.queue.answered(self._worker, self._ticket, stream=True)

    def ended(self) -> None:
        assert self._worker is not None
        self._request.finished = self._router.timeline.now
        self._router.queue.release(self._worker, self._ticket, finished=True)
        self._router.finish(self._request)

    def lost(self) -> None:
        worker, request = self._worker, self._request
        assert worker is not None
        worker.turn(State.DOWN, "the connection was lost")
        self._tried += (worker,)
        self._router.queue.release(worker, self._ticket, finished=False)
        if request.tries >= _TRIES:
            self._fail("lost")
            return
        self.attempt()

    def _go(self, worker: Worker) -> None:
        self._worker = worker
        self._request.tries += 1
        self._router.engines[worker].submit(self._request, self, self._produced)

    def _refused(self, error: ApiError) -> None:
        self._fail(error.code or "refused")

    def _fail(self, reason: str) -> None:
        self._request.failed = reason
        self._router.finish(self._request)

"""The router as a service."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Coroutine

import msgspec

from headrace.config import RouterSettings
from headrace.router.delivery import Delivery
from headrace.router.discovery.static import static_workers
from headrace.router.flow.queue import PoolQueue
from headrace.router.health.watch import Watch
from headrace.router.metrics import RouterMetrics
from headrace.router.pools import describe
from headrace.router.scheduling.least_work import LeastWork
from headrace.router.scheduling.round_robin import RoundRobin
from headrace.router.scheduling.scheduler import Scheduler, Scorer
from headrace.router.ticket import Ticket
from headrace.router.worker import Worker
from headrace.service import run
from headrace.service.ops import JSON
from headrace.service.secret import HopSecret
from headrace.telemetry.metrics import Registry
from headrace.wire.exchange import Exchange
from headrace.wire.limits import ServerLimits
from headrace.wire.routes import Routes

log = logging.getLogger(__name__)

_HOUSEKEEPING = 1.0


def serve(settings: RouterSettings) -> None:
    """``headrace router``."""
    run(lambda: RouterService(settings), settings, "router")


class RouterService:
    """Pools, the watches over their workers, and the way through. A ``Service``."""

    name = "router"

    def __init__(self, settings: RouterSettings) -> None:
        self.registry = Registry()
        self.limits = ServerLimits(body=settings.max_body)
        self.pools = _pools(settings)
        self._secret = HopSecret(settings.hop_secret, settings.hop_secret_previous)
        metrics = RouterMetrics(self.registry)
        metrics.watch(self.registry, list(self.pools.values()))
        self._delivery = Delivery(self.pools, self._secret, metrics, settings.attempts)
        self._watches = [
            Watch(worker, settings.poll_interval, self._secret, self._changed)
            for pool in self.pools.values()
            for worker in pool.workers
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self.routes = Routes(fallback=self._deliver)
        self.routes.add("GET", "/pools", self._show_pools)

    async def start(self) -> None:
        await asyncio.gather(*(watch.look() for watch in self._watches))
        jobs = [watch.run() for watch in self._watches]
        self._tasks = [asyncio.create_task(job) for job in (*jobs, self._delivery.watch.run(), self._keep_house())]

    def unready(self) -> str | None:
        return "draining" if self._draining else None

    def load(self) -> bytes | None:
        return None

    def debug(self, path: str) -> bytes | None:
        return msgspec.json.encode(describe(self.pools)) if path == "pools" else None

    async def drain(self) -> None:
        """Requests that are here are finished; llm-api sees the port close and goes elsewhere."""
        self._draining = True

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pool in self.pools.values():
            for worker in pool.workers:
                worker.close()

    def _changed(self, worker: Worker) -> None:
        self.pools[worker.pool].changed()

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING)
            now = time.monotonic()
            for pool in self.pools.values():
                pool.expire()
                for worker in pool.workers:
                    worker.origin.close_idle(now)

    def _deliver(self, exchange: Exchange) -> Coroutine[None, None, None]:
        self._secret.demand(exchange.request)
        return self._delivery.deliver(exchange, Ticket(exchange.request.headers, exchange.request.received))

    async def _show_pools(self, exchange: Exchange) -> None:
        self._secret.demand(exchange.request)
        exchange.respond(200, JSON, msgspec.json.encode(describe(self.pools)))


def _pools(settings: RouterSettings) -> dict[str, PoolQueue]:
    workers: dict[str, list[Worker]] = defaultdict(list)
    for worker in static_workers(settings.workers):
        workers[worker.pool].append(worker)
    return {
        name: PoolQueue(
            name,
            members,
            Scheduler([(_scorer(settings.scheduler), 1.0)], random.Random()),  # noqa: S311  ties, not secrets
            capacity=settings.queue,
            shares=settings.processes,
            cold_wait=settings.cold_wait,
            clock=time.monotonic,
        )
        for name, members in workers.items()
    }


def _scorer(name: str) -> Scorer:
    return RoundRobin() if name == "round-robin" else LeastWork()

"""The router as a service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path

import msgspec

from headrace.config import RouterSettings
from headrace.errors import ConfigError
from headrace.router.build import build_pools, capacity
from headrace.router.delivery import Delivery
from headrace.router.discovery.dns import resolver
from headrace.router.discovery.replicas import Replicas
from headrace.router.discovery.sources import dynamic_sources
from headrace.router.discovery.specification import named_pools, parse, static_targets
from headrace.router.flow.queue import PoolQueue
from headrace.router.health.monitor import Monitor
from headrace.router.health.watch import Watch
from headrace.router.metrics import RouterMetrics
from headrace.router.poison import PoisonList
from headrace.router.pools import describe, describe_workers
from headrace.router.resume.replay import ReplayMemory
from headrace.router.roster import Roster
from headrace.router.scheduling.decision_log import DecisionLog
from headrace.router.scheduling.decisions import DecisionView
from headrace.router.ticket import Ticket
from headrace.router.worker import State, Worker
from headrace.service import run
from headrace.service.child import shared_folder
from headrace.service.ops import JSON
from headrace.service.secret import HopSecret
from headrace.telemetry.metrics import Registry
from headrace.wire.exchange import Exchange
from headrace.wire.limits import ServerLimits
from headrace.wire.routes import Routes

log = logging.getLogger(__name__)

_HOUSEKEEPING = 1.0
_FIRST_LOOK = 5.0
_MOST_LOOKS = 200
"""At workers, each second."""


def serve(settings: RouterSettings) -> None:
    """``headrace router``."""
    run(lambda: RouterService(settings, shared_folder()), settings, "router")


class RouterService:
    """Pools, their workers, and the way through. A ``Service``."""

    name = "router"

    def __init__(self, settings: RouterSettings, shared: Path | None = None) -> None:
        """``shared``: a folder that several processes of one router have in common. Raises ConfigError."""
        self.registry = Registry()
        self.limits = ServerLimits(body=settings.max_body)
        self._settings = settings
        specifications = [parse(text) for text in settings.workers]
        self._static = static_targets(specifications)
        self._sources = dynamic_sources(settings, specifications)
        self.pools = build_pools(settings, named_pools(specifications), time.monotonic)
        self._secret = HopSecret(settings.hop_secret, settings.hop_secret_previous)
        self.roster = Roster(self.pools, self._watch, shares=settings.processes * settings.replicas)
        metrics = RouterMetrics(self.registry)
        memory = ReplayMemory(settings.replay_memory)
        metrics.watch(self.registry, list(self.pools.values()), memory)
        poison = PoisonList(time.monotonic, None if shared is None else shared / "poison")
        self._delivery = Delivery(self.pools, self._secret, metrics, settings.attempts, memory, poison)
        self._monitor = Monitor(
            self.pools, self._secret, time.monotonic, lambda pool, verdict: metrics.probes.labels(pool, verdict).inc()
        )
        self._decision_log = _open_log(settings.decision_log, self.pools)
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self.routes = Routes(fallback=self._deliver)
        self.routes.add("GET", "/pools", self._show_pools)

    async def start(self) -> None:
        self.roster.publish("static", self._static)
        jobs = [self._delivery.watch.run(), self._keep_house(), self._monitor.run()]
        jobs += [self.roster.follow(source) for source in self._sources]
        if self._settings.replicas_dns:
            found = resolver(self._settings.nameservers)
            jobs.append(Replicas(self._settings.replicas_dns, found, self._share).run())
        self._tasks = [asyncio.create_task(job) for job in jobs]
        for task in self._tasks:
            task.add_done_callback(_complain)
        await self._see_all()

    def unready(self) -> str | None:
        return "draining" if self._draining else None

    def load(self) -> bytes | None:
        return None

    def debug(self, path: str) -> bytes | None:
        if path == "pools":
            return msgspec.json.encode(describe(self.pools))
        if path == "workers":
            return msgspec.json.encode(describe_workers(self.roster.workers))
        if path == "decisions":
            return msgspec.json.encode(self._decisions())
        return None

    async def drain(self) -> None:
        """Requests that are here are finished; llm-api sees the port close and goes elsewhere."""
        self._draining = True

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.roster.close()
        if self._decision_log is not None:
            self._decision_log.close()

    def _share(self, replicas: int) -> None:
        """So many routers share the workers and the places in the queues from now on."""
        shares = self._settings.processes * replicas
        self.roster.share(shares)
        for name, pool in self.pools.items():
            pool.resize(capacity(self._settings, name, shares))

    def _decisions(self) -> list[DecisionView]:
        """The last decisions of all pools, the latest first."""
        now = time.monotonic()
        views = []
        for name, pool in self.pools.items():
            profile = pool.scheduler.profile
            scorers = [scorer.name for scorer, _ in profile.scorers]
            views += pool.scheduler.decisions.view(now, name, profile.name, scorers)
        return sorted(views, key=lambda view: view.seconds_ago)

    async def _watch(self, worker: Worker) -> None:
        watch = Watch(worker, self._interval, self._secret, self.roster.looked)
        await watch.run()

    def _interval(self) -> float:
        """Between two looks at a worker: longer where there are hundreds, so that looking takes no more than it may."""
        return max(self._settings.poll_interval, len(self.roster) / _MOST_LOOKS)

    async def _see_all(self) -> None:
        """Wait, a little, until each worker was looked at: the first requests should know the whole fleet."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK):
                while any(worker.state is State.UNKNOWN for worker in self.roster.workers):
                    await asyncio.sleep(0.01)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING)
            now = time.monotonic()
            self.roster.tidy()
            for pool in self.pools.values():
                pool.expire()
            for worker in self.roster.workers:
                worker.origin.close_idle(now)
            if self._decision_log is not None:
                self._decision_log.flush()

    def _deliver(self, exchange: Exchange) -> Coroutine[None, None, None]:
        self._secret.demand(exchange.request)
        return self._delivery.deliver(exchange, Ticket(exchange.request.headers, exchange.request.received))

    async def _show_pools(self, exchange: Exchange) -> None:
        self._secret.demand(exchange.request)
        exchange.respond(200, JSON, msgspec.json.encode(describe(self.pools)))


def _open_log(path: Path | None, pools: Mapping[str, PoolQueue]) -> DecisionLog | None:
    """Raises ConfigError where the file cannot be written."""
    if path is None:
        return None
    try:
        made = DecisionLog(path)
    except OSError as error:
        raise ConfigError(f"router.decision_log: {path} cannot be written: {error.strerror}") from None
    for name, pool in pools.items():
        made.attach(name, pool.scheduler)
    return made


def _complain(task: asyncio.Task[None]) -> None:
    """A job that should run for ever has ended: a defect of ours, which must not go unseen."""
    if not task.cancelled() and task.exception() is not None:
        log.error("a job of the router ended", exc_info=task.exception())

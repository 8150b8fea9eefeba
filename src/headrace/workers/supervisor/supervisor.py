"""A worker whose engine is a program of its own: one engine after another, and the ops port. An ``OpsView``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable

import msgspec

from headrace.config import EngineSettings
from headrace.errors import WireError
from headrace.service.ops import ops_routes
from headrace.service.secret import HopSecret
from headrace.telemetry.exposition import Page, render
from headrace.telemetry.metrics import Registry
from headrace.wire.server import Server
from headrace.workers.contract import Load
from headrace.workers.metrics import WorkerMetrics
from headrace.workers.supervisor.ending import Ending, Exit
from headrace.workers.supervisor.engine import Engine
from headrace.workers.supervisor.life import Life
from headrace.workers.supervisor.process import Children

log = logging.getLogger(__name__)

_SCRAPE, _SCRAPE_STALLED = 5.0, 1.0
"""Seconds that the engine gets for its part of the metrics: Prometheus waits no more than 10."""
_STEADY = 600.0
"""An engine that lived this many seconds begins to count its failures anew."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class Supervisor:
    """Starts the engine, again where that can help, and tells how it is."""

    def __init__(self, engine: Engine, settings: EngineSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = Registry()
        self._metrics = WorkerMetrics(self.registry, engine.name, settings.served_name)
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._stop = asyncio.Event()
        self._signals = 0
        self._life = Life(engine, settings, clock)
        self._failure: str | None = None
        """Why the last engine ended, until there is another one."""

    # ---- OpsView ----

    async def unready(self) -> str | None:
        return "draining" if self._stop.is_set() else self._failure or self._life.unready()

    async def metrics(self, accept: str) -> Page:
        """The engine's own text, and what it cannot know: in the format that engines answer with, whatever is asked."""
        stalled = self._life.stalled() > 0
        theirs = b""
        if self._life.warm:
            with contextlib.suppress(WireError):
                theirs = await self._engine.metrics(_SCRAPE_STALLED if stalled else _SCRAPE)
        self._metrics.ready.set(await self.unready() is None)
        self._metrics.draining.set(self._stop.is_set())
        self._metrics.stalled.set(stalled)
        if theirs and not theirs.endswith(b"\n"):
            theirs += b"\n"
        ours = render(self.registry.snapshot())
        return Page(ours.content_type, theirs + ours.body)

    async def load(self) -> bytes | None:
        look = self._life.load
        return msgspec.json.encode(
            Load(
                running=look.running,
                waiting=look.waiting,
                max_running=self._engine.max_running,
                models=self._life.models,
                epoch=self._life.epoch,
                kv_used=look.kv_used,
                kv_total=look.kv_total,
                block_size=look.block_size,
                iterations=look.iterations,
                draining=self._stop.is_set(),
                prompt_tokens=look.prompt_tokens,
                cached_tokens=look.cached_tokens,
            )
        )

    async def debug(self, path: str) -> bytes | None:
        return None

    # ---- the worker's life ----

    async def run(self, ops: socket.socket, parent: int | None = None) -> Ending:
        """Until SIGTERM, SIGINT, ``POST /drain``, the end of our parent, or until the engine is given up."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        if parent is not None:
            loop.add_reader(parent, self._parent_gone, parent)
        secret = HopSecret(self._settings.hop_secret, self._settings.hop_secret_previous)
        server = Server(ops_routes(self, secret, self._stop.set))
        await server.start(ops)
        try:
            return await self._lives()
        finally:
            await server.close()
            self._engine.close()

    async def _lives(self) -> Ending:
        """One engine after another."""
        children = Children()
        children.start()
        failures = 0
        while True:
            born = self._clock()
            ending = await self._life.run(children, self._stop)
            if self._stop.is_set():
                return ending
            self._failure = ending.reason
            failures = 1 if self._clock() - born > _STEADY else failures + 1
            log.error("engine ended", extra={"reason": ending.reason, "exit": ending.exit.name, "failures": failures})
            if ending.final or failures > self._settings.restarts:
                return ending
            if await self._stopped_within(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (failures - 1))):
                return Ending(Exit.OK, "stopped before the engine was started again")
            self._metrics.restarts.inc()
            self._life, self._failure = Life(self._engine, self._settings, self._clock), None

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        return self._stop.is_set()

    def _signalled(self) -> None:
        self._signals += 1
        self._stop.set()
        if self._signals > 1:
            self._life.kill()

    def _parent_gone(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        log.warning("the parent process is gone")
        self._stop.set()

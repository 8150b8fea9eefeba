"""The life of a worker whose engine is a program of its own. An ``OpsView``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec

from headrace.config import EngineSettings
from headrace.errors import WireError
from headrace.service.ops import ops_routes
from headrace.service.secret import HopSecret
from headrace.telemetry.metrics import Registry, render
from headrace.wire.server import Server
from headrace.workers.contract import Load, ServedModel, new_epoch
from headrace.workers.metrics import WorkerMetrics
from headrace.workers.supervisor.ending import Ending, Exit, describe_code, oom_kills
from headrace.workers.supervisor.engine import Engine, Look
from headrace.workers.supervisor.movement import Movement
from headrace.workers.supervisor.process import Children, EngineProcess

log = logging.getLogger(__name__)

_HEALTH_INTERVAL = 0.25
_LOOK_INTERVAL = 0.5
_MODELS_INTERVAL = 10.0
"""Adapters come and go while an engine runs."""
_PROBE_AFTER = 5.0
"""Seconds without a move, with work, after which the engine is asked for a token (less where it stalls earlier)."""
_SCRAPE, _SCRAPE_STALLED = 5.0, 1.0
"""Seconds that the engine gets for its part of the metrics: Prometheus waits no more than 10."""
_ENDPOINT_GRACE = 1.5
"""Seconds between "draining" and the first look whether nothing runs: whoever just chose us still gets in."""
_QUIET_LOOKS = 3
"""Looks in a row without work after which a draining engine is ended."""
_STEADY = 600.0
"""An engine that lived this many seconds begins to count its failures anew."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class Supervisor:
    """Starts the engine, again where that can help, and tells how it is."""

    def __init__(self, engine: Engine, settings: EngineSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = Registry()
        self._metrics = WorkerMetrics(self.registry)
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._children = Children()
        self._stop = asyncio.Event()
        self._signals = 0
        self._process: EngineProcess | None = None
        self._epoch = new_epoch()
        self._models: tuple[ServedModel, ...] = ()
        self._movement = Movement(clock)
        self._warm = False
        self._unwell = False
        self._failure = "starting the engine"
        """Why there is no warm engine."""

    # ---- OpsView ----

    async def unready(self) -> str | None:
        if self._stop.is_set():
            return "draining"
        if not self._warm:
            return self._failure
        if self._unwell:
            return "the engine says that it is not well"
        if stalled := self._stalled():
            return f"stalled: work is dispatched, but no iteration for {stalled:.0f} s"
        return None

    async def metrics(self) -> bytes:
        """The engine's own text, and what it cannot know."""
        theirs = b""
        if self._warm:
            with contextlib.suppress(WireError):
                theirs = await self._engine.metrics(_SCRAPE if not self._stalled() else _SCRAPE_STALLED)
        self._metrics.ready.set(await self.unready() is None)
        self._metrics.draining.set(self._stop.is_set())
        self._metrics.stalled.set(self._stalled() > 0)
        if theirs and not theirs.endswith(b"\n"):
            theirs += b"\n"
        return theirs + render(self.registry.snapshot())

    async def load(self) -> bytes | None:
        look = self._movement.load
        return msgspec.json.encode(
            Load(
                running=look.running,
                waiting=look.waiting,
                max_running=self._engine.max_running,
                models=self._models,
                epoch=self._epoch,
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
        self._children.start()
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
        failures = 0
        while True:
            born = self._clock()
            ending = await self._live()
            if self._stop.is_set():
                return ending
            self._failure = ending.reason
            failures = 1 if self._clock() - born > _STEADY else failures + 1
            log.error("engine ended", extra={"reason": ending.reason, "exit": ending.exit.name, "failures": failures})
            if ending.final or failures > self._settings.restarts:
                return ending
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (failures - 1))
            if await self._stopped_within(pause):
                return Ending(Exit.OK, "stopped before the engine was started again")
            self._metrics.restarts.inc()

    async def _live(self) -> Ending:
        """One life of the engine, from its start to what it left behind."""
        killed_before = oom_kills()
        self._epoch, self._movement, self._models = new_epoch(), Movement(self._clock), ()
        self._unwell, self._failure = False, "starting the engine"
        try:
            process = await EngineProcess.start(self._engine.command(), self._engine.environment(), self._children)
        except OSError as error:
            return Ending(Exit.BAD_ARGUMENTS, f"the engine cannot be started: {error}", final=True)
        self._process = process
        log.info("engine started", extra={"pid": process.pid})
        watch = asyncio.create_task(self._watch())
        stop = asyncio.create_task(self._stop.wait())
        try:
            whichever: set[asyncio.Future[Any]] = {process.ended, watch, stop}
            await asyncio.wait(whichever, return_when=asyncio.FIRST_COMPLETED)
            if not process.running:
                return await self._explain(process, killed_before)
            if self._stop.is_set():
                watch.cancel()
                return await self._drain(process)
            return watch.result()
        finally:
            self._warm = False
            for task in (watch, stop):
                task.cancel()
            await asyncio.gather(watch, stop, return_exceptions=True)
            process.kill()
            await process.ended
            await process.close()

    async def _explain(self, process: EngineProcess, killed_before: int) -> Ending:
        code = await process.ended
        tail = await process.close()
        ending = self._engine.explain(code, tail)
        if code == -signal.SIGKILL and oom_kills() > killed_before:
            return Ending(
                Exit.OUT_OF_MEMORY,
                f"the engine {describe_code(code)}: the container ran out of memory; raise its memory limit",
            )
        return ending

    async def _watch(self) -> Ending:
        """Warm the engine up and look at it until it is wedged."""
        if (ending := await self._start_up()) is not None:
            return ending
        asked = self._clock()
        while True:
            await asyncio.sleep(_LOOK_INTERVAL)
            self._unwell = await self._engine.health() is False  # no answer is no word: busy is not dead
            await self._look()
            still = self._movement.still()
            if still > self._settings.wedge_timeout:
                return Ending(Exit.WEDGED, f"killed: no progress for {still:.0f} s with work dispatched")
            if self._clock() - asked > _MODELS_INTERVAL and not self._stalled():
                asked = self._clock()
                await self._ask_models()

    async def _start_up(self) -> Ending | None:
        """Wait until the engine answers, then until it has generated a token."""
        deadline = self._clock() + self._settings.startup_timeout
        self._failure = "loading the model"
        while not await self._engine.health():
            if self._clock() > deadline:
                return self._too_slow()
            await asyncio.sleep(_HEALTH_INTERVAL)
        self._failure = "warming up: the first generation is under way"
        while True:
            try:
                await self._engine.generate(max(1.0, deadline - self._clock()))
                break
            except WireError as error:
                self._failure = f"the first generation failed: {error}"
            if self._clock() > deadline:
                return self._too_slow()
            await asyncio.sleep(1.0)
        await self._ask_models()
        await self._look()
        self._warm = True
        log.info("serving", extra={"port": self._settings.port, "ops_port": self._settings.ops_port})
        return None

    def _too_slow(self) -> Ending:
        seconds = self._settings.startup_timeout
        return Ending(Exit.ENGINE_FAILED, f"killed: not ready after {seconds:.0f} s ({self._failure})")

    async def _look(self) -> Look | None:
        """One look; an engine that stands still with work is asked for a token. None where it does not answer."""
        try:
            look = await self._engine.look()
        except WireError as error:
            log.debug("no look at the engine", extra={"error": str(error)})
            return None
        self._movement.observe(look)
        if self._movement.busy and self._movement.still() > min(_PROBE_AFTER, self._settings.stall_timeout / 3):
            await self._probe()
        return look

    async def _probe(self) -> None:
        try:
            await self._engine.generate(max(1.0, self._settings.wedge_timeout - self._movement.still()))
            self._movement.answered(await self._engine.look())
        except WireError as error:
            log.warning("the engine does not generate", extra={"error": str(error)})

    async def _ask_models(self) -> None:
        with contextlib.suppress(WireError):
            self._models = await self._engine.models()

    def _stalled(self) -> float:
        """Seconds without progress, where they are too many; an engine that tells nothing counts as one that stands."""
        still = self._movement.still()
        return still if self._warm and still > self._settings.stall_timeout else 0.0

    # ---- the end ----

    async def _drain(self, process: EngineProcess) -> Ending:
        """Nothing new comes: finish what runs, then end the engine."""
        log.info("draining", extra={"running": self._movement.load.running})
        deadline = self._clock() + self._settings.drain_timeout
        if self._warm:
            await asyncio.wait({process.ended}, timeout=_ENDPOINT_GRACE)
        quiet = 0 if self._warm else _QUIET_LOOKS
        while quiet < _QUIET_LOOKS and process.running and self._clock() < deadline:
            await self._look()
            quiet = 0 if self._movement.busy else quiet + 1
            await asyncio.wait({process.ended}, timeout=_LOOK_INTERVAL / 2)
        if not process.running:
            return Ending(Exit.CUT, f"the engine {describe_code(process.ended.result())} while it drained")
        process.terminate()
        await asyncio.wait({process.ended}, timeout=self._engine.grace)
        if quiet < _QUIET_LOOKS:
            return Ending(Exit.CUT, f"requests still ran after {self._settings.drain_timeout:.0f} s and were cut")
        log.info("stopped")
        return Ending(Exit.OK, "drained")

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        return self._stop.is_set()

    def _signalled(self) -> None:
        self._signals += 1
        self._stop.set()
        if self._signals > 1 and self._process is not None:
            self._process.kill()

    def _parent_gone(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        log.warning("the parent process is gone")
        self._stop.set()

"""One life of an engine: its start, the watch over it, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from typing import Any

from headrace.config import EngineSettings
from headrace.errors import WireError
from headrace.workers.contract import ServedModel, new_epoch
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
_ENDPOINT_GRACE = 1.5
"""Seconds between "draining" and the first look whether nothing runs: whoever just chose us still gets in."""
_CUT_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL where requests are cut: whoever waits for us has waited long enough."""
_QUIET_LOOKS = 3
"""Looks in a row without work after which a draining engine is ended."""


class Life:
    """An engine from its start to what it left behind. ``run`` is called once."""

    def __init__(self, engine: Engine, settings: EngineSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.epoch = new_epoch()
        self.models: tuple[ServedModel, ...] = ()
        self.warm = False
        """It has generated a first token."""
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._movement = Movement(clock)
        self._stage = "starting the engine"
        """How far it is, before it is warm."""
        self._unwell = False
        self._process: EngineProcess | None = None

    def unready(self) -> str | None:
        """Why no request should come; None if there is no reason."""
        if not self.warm:
            return self._stage
        if self._unwell:
            return "the engine says that it is not well"
        if stalled := self.stalled():
            return f"stalled: work is dispatched, but no iteration for {stalled:.0f} s"
        return None

    def stalled(self) -> float:
        """Seconds without progress, where they are too many; an engine that tells nothing counts as one that stands."""
        still = self._movement.still()
        return still if self.warm and still > self._settings.stall_timeout else 0.0

    @property
    def load(self) -> Look:
        """Its load as it was at the last look."""
        return self._movement.load

    def kill(self) -> None:
        """End it now; ``run`` returns."""
        if self._process is not None:
            self._process.kill()

    async def run(self, children: Children, stop: asyncio.Event) -> Ending:
        """Until it ends, is wedged, or ``stop`` is set and it is drained."""
        killed_before = oom_kills()
        try:
            process = await EngineProcess.start(self._engine.command(), self._engine.environment(), children)
        except OSError as error:
            return Ending(Exit.BAD_ARGUMENTS, f"the engine cannot be started: {error}", final=True)
        self._process = process
        log.info("engine started", extra={"pid": process.pid})
        watching, stopping = asyncio.create_task(self._watch()), asyncio.create_task(stop.wait())
        try:
            whichever: set[asyncio.Future[Any]] = {process.ended, watching, stopping}
            await asyncio.wait(whichever, return_when=asyncio.FIRST_COMPLETED)
            if not process.running:
                return await self._explain(process, killed_before)
            if not stop.is_set():
                return watching.result()
            watching.cancel()
            return await self._drain(process)
        finally:
            self.warm = False
            for task in (watching, stopping):
                task.cancel()
            await asyncio.gather(watching, stopping, return_exceptions=True)
            process.kill()
            await process.ended
            await process.close()

    async def _explain(self, process: EngineProcess, killed_before: int) -> Ending:
        code = await process.ended
        if code == -signal.SIGKILL and oom_kills() > killed_before:
            return Ending(
                Exit.OUT_OF_MEMORY,
                f"the engine {describe_code(code)}: the container ran out of memory; raise its memory limit",
            )
        return self._engine.explain(code, await process.close())

    # ---- the watch ----

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
            if self._clock() - asked > _MODELS_INTERVAL and not self.stalled():
                asked = self._clock()
                await self._ask_models()

    async def _start_up(self) -> Ending | None:
        """Wait until the engine answers, then until it has generated a token."""
        deadline = self._clock() + self._settings.startup_timeout
        self._stage = "loading the model"
        while not await self._engine.health():
            if self._clock() > deadline:
                return self._too_slow()
            await asyncio.sleep(_HEALTH_INTERVAL)
        self._stage = "warming up: the first generation is under way"
        while not await self._generates(deadline - self._clock()):
            if self._clock() > deadline:
                return self._too_slow()
            await asyncio.sleep(1.0)
        await self._ask_models()
        await self._look()
        self.warm = True
        log.info("serving", extra={"port": self._settings.port, "ops_port": self._settings.ops_port})
        return None

    async def _generates(self, timeout: float) -> bool:
        try:
            await self._engine.generate(max(1.0, timeout))
        except WireError as error:
            self._stage = f"the first generation failed: {error}"
            return False
        return True

    def _too_slow(self) -> Ending:
        seconds = self._settings.startup_timeout
        return Ending(Exit.ENGINE_FAILED, f"killed: not ready after {seconds:.0f} s ({self._stage})")

    async def _look(self) -> bool:
        """One look; an engine that stands still with work is asked for a token. False where it does not answer."""
        try:
            self._movement.observe(await self._engine.look())
        except WireError as error:
            log.debug("no look at the engine", extra={"error": str(error)})
            return False
        if self._movement.busy and self._movement.still() > min(_PROBE_AFTER, self._settings.stall_timeout / 3):
            await self._probe()
        return True

    async def _probe(self) -> None:
        try:
            await self._engine.generate(max(1.0, self._settings.wedge_timeout - self._movement.still()))
            self._movement.answered(await self._engine.look())
        except WireError as error:
            log.warning("the engine does not generate", extra={"error": str(error)})

    async def _ask_models(self) -> None:
        with contextlib.suppress(WireError):
            self.models = await self._engine.models()

    # ---- the end ----

    async def _drain(self, process: EngineProcess) -> Ending:
        """Nothing new comes: finish what runs, then end the engine."""
        log.info("draining", extra={"running": self.load.running})
        finished = not self.warm or await self._finish(process)
        if not process.running:
            return Ending(Exit.CUT, f"the engine {describe_code(process.ended.result())} while it drained")
        process.terminate()
        await asyncio.wait({process.ended}, timeout=self._engine.grace if finished else _CUT_GRACE)
        if not finished:
            return Ending(Exit.CUT, f"requests still ran after {self._settings.drain_timeout:.0f} s and were cut")
        log.info("stopped")
        return Ending(Exit.OK, "drained")

    async def _finish(self, process: EngineProcess) -> bool:
        """Wait until nothing runs any more. False where that takes too long, or the engine ended meanwhile."""
        deadline = self._clock() + self._settings.drain_timeout
        await asyncio.wait({process.ended}, timeout=_ENDPOINT_GRACE)
        quiet = 0
        while quiet < _QUIET_LOOKS and process.running and self._clock() < deadline:
            quiet = quiet + 1 if await self._look() and not self._movement.busy else 0
            await asyncio.wait({process.ended}, timeout=_LOOK_INTERVAL / 2)
        return quiet >= _QUIET_LOOKS

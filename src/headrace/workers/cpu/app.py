"""cpu-worker as a service: its engine's life, its load, its start and end."""

from __future__ import annotations

import asyncio
import logging
from itertools import chain, repeat
from pathlib import Path

from headrace.config import CpuWorkerSettings, home
from headrace.errors import ModelError
from headrace.service import run
from headrace.wire.limits import MIB
from headrace.workers.contract import Load, ServedModel, Worker, new_epoch
from headrace.workers.cpu.detokenize import Vocabulary
from headrace.workers.cpu.endpoints import Endpoints
from headrace.workers.cpu.messages import EngineSpec
from headrace.workers.cpu.metrics import CpuMetrics
from headrace.workers.cpu.model import BLOCK_TOKENS, find
from headrace.workers.cpu.plan import Planner
from headrace.workers.cpu.process import EngineProcess
from headrace.workers.cpu.scheduler import Scheduler
from headrace.workers.cpu.scratch import openable
from headrace.workers.cpu.tokenizer import Tokenizer

log = logging.getLogger(__name__)

_WATCH_INTERVAL = 1.0
_RESTART_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before each new try to start the engine again; the last one is repeated."""


class CpuWorker(Worker):
    """The HTTP side; the engine is a process of its own (see ``pipeline`` for why)."""

    name = "cpu-worker"
    planner: Planner
    """Set by ``start``, before the traffic port opens."""

    def __init__(self, settings: CpuWorkerSettings) -> None:
        """Raises ModelError where the folder does not hold a whole model."""
        super().__init__(settings)
        model = find(settings.model)
        self._kv_blocks = model.kv_blocks(settings.kv_cache_mib * MIB, settings.precision)
        self._context = min(model.context, self._kv_blocks * BLOCK_TOKENS)
        self._path = str(openable(Path(model.path), home() / "cache"))
        self._spec = EngineSpec(self._path, settings.precision, settings.max_running, self._kv_blocks)
        self.wedged_after = settings.wedge_timeout
        self.metrics = CpuMetrics(self.registry)
        self.scheduler = Scheduler(settings.max_running, settings.max_waiting, self.progress, self.metrics)
        self.registry.on_collect(self._collect)
        self._engine = EngineProcess(self._spec, self.scheduler.stepped)
        self._tasks: list[asyncio.Task[None]] = []
        if self._context < model.context:
            log.warning(
                "the KV cache is smaller than the model's context, so the context is cut; raise kv_cache_mib",
                extra={"context": self._context, "model_context": model.context},
            )
        Endpoints(self).register()

    @property
    def vocabulary(self) -> Vocabulary:
        return self.planner.tokenizer.vocabulary

    @property
    def engine_pid(self) -> int | None:
        """The process that computes."""
        return self._engine.pid

    async def start(self) -> None:
        try:
            await self._engine.spawn()
            # OpenVINO holds the interpreter while it reads the tokenizer; the engine loads meanwhile.
            self.planner = Planner(await asyncio.to_thread(Tokenizer, self._path), self._context)
            await self._begin()
        except BaseException:
            self._engine.kill()
            await self._engine.close()
            raise
        self._tasks = [asyncio.create_task(self._keep_engine()), asyncio.create_task(self._watch())]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.warm = False
        self.scheduler.detach()
        await self._engine.close()

    def snapshot(self) -> Load:
        scheduler = self.scheduler
        return Load(
            running=scheduler.running,
            waiting=scheduler.waiting,
            max_running=scheduler.max_running,
            models=(ServedModel(self.model, self._context),),
            epoch=self.epoch,
            queued_tokens=scheduler.queued_tokens,
            kv_used=scheduler.kv_used,
            kv_total=self._kv_blocks,
            block_size=BLOCK_TOKENS,
            iterations=self.progress.iterations,
            draining=self.draining,
        )

    async def _begin(self) -> None:
        """Take up work as soon as the engine has loaded the model. Raises ModelError."""
        ready = await self._engine.ready()
        self.scheduler.attach(self._engine.send)
        self.warm = True
        self.failure = None
        log.info("engine started", extra={"model": self.model, "seconds": round(ready.seconds, 2)})

    async def _keep_engine(self) -> None:
        """Start the engine again whenever it ends."""
        while True:
            reason = await self._engine.run()
            self._lost(reason)
            await self._engine.close()
            await self._revive()

    async def _revive(self) -> None:
        for pause in chain(_RESTART_PAUSES, repeat(_RESTART_PAUSES[-1])):
            await asyncio.sleep(pause)
            self._engine = EngineProcess(self._spec, self.scheduler.stepped)
            try:
                await self._engine.spawn()
                await self._begin()
            except (ModelError, OSError) as error:
                await self._engine.close()
                self.failure = str(error)
                log.error("engine does not start", extra={"reason": str(error)})
            else:
                return

    def _lost(self, reason: str) -> None:
        log.error("engine ended", extra={"reason": reason, "running": self.scheduler.running})
        self.warm = False
        self.epoch = new_epoch()
        self.engine_restarts += 1
        self.scheduler.detach()

    async def _watch(self) -> None:
        """Kill an engine that does not move; ``_keep_engine`` starts another."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL)
            stalled = self.progress.stalled()
            if stalled > self.wedged_after:
                log.error("engine killed", extra={"reason": f"no iteration for {stalled:.0f} s"})
                self._engine.kill()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failure = "internal error"
            log.error("worker task failed", exc_info=error)

    def _collect(self) -> None:
        self.metrics.running.set(self.scheduler.running)
        self.metrics.waiting.set(self.scheduler.waiting)
        self.metrics.queued_tokens.set(self.scheduler.queued_tokens)
        self.metrics.kv_usage.set(self.scheduler.kv_used / self._kv_blocks)


def build(settings: CpuWorkerSettings) -> CpuWorker:
    """The worker, ready to be started. Raises ModelError where the folder does not hold a whole model."""
    return CpuWorker(settings)


def serve(settings: CpuWorkerSettings) -> None:
    """Run until told to stop. Raises ConfigError or ModelError."""
    run(lambda: build(settings), settings, CpuWorker.name)

"""Looks at every worker again and again, and believes only what it sees there."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

import msgspec

from headrace.errors import ConnectError, WireError
from headrace.router.health.engines.engine import Engine
from headrace.router.health.engines.probe import probe
from headrace.router.health.progress import silence
from headrace.router.worker import Load, State, Worker
from headrace.service.secret import HopSecret
from headrace.wire.client import fetch
from headrace.wire.response import Answer

log = logging.getLogger(__name__)

_PATIENCE = 3
"""Looks in a row that may time out before a worker counts as down: busy is not dead."""


class Watch:
    """Keeps ``worker.state`` and ``worker.load`` true. ``looked`` is called after each look that told something."""

    def __init__(
        self,
        worker: Worker,
        interval: Callable[[], float],
        secret: HopSecret,
        looked: Callable[[Worker], None],
        *,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``interval`` tells what lies between two looks; ``timeout`` is what a worker has to answer each question."""
        self._timeout = timeout
        self._worker = worker
        self._interval = interval
        self._secret = secret
        self._looked = looked
        self._clock = clock
        self._missed = 0
        self._began = clock()
        self._engine: Engine | None = None

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._interval() * random.uniform(0.9, 1.1))  # noqa: S311  not all at once

    async def look(self) -> None:
        """One look."""
        since, self._began = self._began, self._clock()
        try:
            state, reason = await (self._look_bare() if self._worker.bare else self._look_ops())
            self._missed = 0
        except ConnectError as error:
            state, reason = State.DOWN, str(error)
            self._engine = None  # perhaps another one comes back
        except (WireError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            if self._advanced(since):
                return  # busy is not dead
            self._missed += 1
            if self._missed < _PATIENCE:
                return
            state, reason = State.DOWN, str(error)
        self._set(state, reason)
        self._looked(self._worker)

    def _advanced(self, since: float) -> bool:
        """Whether one of our requests got on since the look before."""
        silence(self._worker, self._clock())
        return self._worker.in_flight > 0 and self._worker.progress_at > since

    async def _look_ops(self) -> tuple[State, str]:
        origin = self._worker.ops_origin
        assert origin is not None
        ready = await fetch(origin, "GET", "/readyz", timeout=self._timeout)
        answer = await fetch(origin, "GET", "/load", timeout=self._timeout)
        if answer.status == 200:
            self._observe(msgspec.json.decode(answer.body, type=Load))
        elif ready.status == 200:
            return State.STARTING, f"/load answers {answer.status}"
        return self._judge(ready, answer.status == 200)

    def _judge(self, ready: Answer, loaded: bool) -> tuple[State, str]:
        worker = self._worker
        reason = ready.body.decode(errors="replace").strip()[:200]
        if loaded and worker.load.draining:
            return State.DRAINING, reason
        if ready.status != 200:
            return State.STARTING, reason
        if worker.pools.isdisjoint(worker.models):
            return State.MISNAMED, self._misnamed()
        return State.READY, ""

    async def _look_bare(self) -> tuple[State, str]:
        worker = self._worker
        engine, cards, reason = await probe(self._ask)
        if engine is None:
            return State.STARTING, reason
        if self._engine is None or self._engine.name != engine.name:
            self._engine, worker.engine = engine, engine.name
        self._observe(await self._engine.look(self._ask, cards))
        return (State.MISNAMED, self._misnamed()) if worker.pools.isdisjoint(worker.models) else (State.READY, "")

    async def _ask(self, path: str) -> Answer:
        headers = [(b"authorization", b"Bearer " + self._secret.current)] if self._secret.required else []
        return await fetch(self._worker.origin, "GET", path, headers=headers, timeout=self._timeout)

    def _observe(self, load: Load) -> None:
        """Take it in; a step of the engine is a sign of progress."""
        if load.iterations != self._worker.load.iterations or load.epoch != self._worker.load.epoch:
            self._worker.progress_at = self._clock()
        self._worker.observe(load)

    def _misnamed(self) -> str:
        names = ", ".join(model.name for model in self._worker.load.models) or "nothing"
        return f"it serves {names}, not {' or '.join(sorted(self._worker.pools))}"

    def _set(self, state: State, reason: str) -> None:
        worker = self._worker
        if worker.leaving:
            return
        if worker.turn(state, reason):
            log.info("worker", extra={"worker": worker.name, "state": state, "reason": reason})

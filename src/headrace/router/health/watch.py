"""Looks at every worker again and again, and believes only what it sees there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from headrace.errors import ConnectError, WireError
from headrace.router.worker import Load, ModelLoad, State, Worker
from headrace.service.secret import HopSecret
from headrace.wire.client import fetch
from headrace.wire.response import Answer

log = logging.getLogger(__name__)

_PATIENCE = 3
"""Looks in a row that may time out before a worker counts as down: busy is not dead."""


class _BareModel(msgspec.Struct):
    id: str
    max_model_len: int = 0


class _BareModels(msgspec.Struct):
    data: list[_BareModel]


class Watch:
    """Keeps ``worker.state`` and ``worker.load`` true. ``looked`` is called after each look that told something."""

    def __init__(
        self,
        worker: Worker,
        interval: float,
        secret: HopSecret,
        looked: Callable[[Worker], None],
        *,
        timeout: float = 5.0,
    ) -> None:
        """``interval`` lies between two looks; ``timeout`` is what a worker has to answer each question."""
        self._timeout = timeout
        self._worker = worker
        self._interval = interval
        self._secret = secret
        self._looked = looked
        self._missed = 0

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._interval)

    async def look(self) -> None:
        """One look."""
        try:
            state, reason = await (self._look_bare() if self._worker.bare else self._look_ops())
            self._missed = 0
        except ConnectError as error:
            state, reason = State.DOWN, str(error)
        except (WireError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._missed += 1
            if self._missed < _PATIENCE:
                return
            state, reason = State.DOWN, str(error)
        self._set(state, reason)
        self._looked(self._worker)

    async def _look_ops(self) -> tuple[State, str]:
        origin = self._worker.ops_origin
        assert origin is not None
        ready = await fetch(origin, "GET", "/readyz", timeout=self._timeout)
        answer = await fetch(origin, "GET", "/load", timeout=self._timeout)
        if answer.status == 200:
            self._worker.observe(msgspec.json.decode(answer.body, type=Load))
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
        headers = [(b"authorization", b"Bearer " + self._secret.current)] if self._secret.required else []
        answer = await fetch(worker.origin, "GET", "/v1/models", headers=headers, timeout=self._timeout)
        if answer.status != 200:
            return State.STARTING, f"/v1/models answers {answer.status}"
        models = msgspec.json.decode(answer.body, type=_BareModels).data
        worker.observe(Load(models=tuple(ModelLoad(model.id, model.max_model_len) for model in models)))
        return (State.MISNAMED, self._misnamed()) if worker.pools.isdisjoint(worker.models) else (State.READY, "")

    def _misnamed(self) -> str:
        names = ", ".join(model.name for model in self._worker.load.models) or "nothing"
        return f"it serves {names}, not {' or '.join(sorted(self._worker.pools))}"

    def _set(self, state: State, reason: str) -> None:
        worker = self._worker
        if worker.leaving:
            return
        if worker.turn(state, reason):
            log.info("worker", extra={"worker": worker.name, "state": state, "reason": reason})

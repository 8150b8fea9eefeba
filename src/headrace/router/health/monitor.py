"""Asks suspects, and takes the work of those that do not answer elsewhere.

A suspect gets nothing new and is sent one small request. If it answers, or a sign of progress comes meanwhile, it is as
before. If not, it is quarantined: the requests that it has are given up, so that delivery takes them to other workers,
and it is asked again, with growing pauses, until it answers. An engine that does not know the small request's endpoint
(404, 405) cannot be judged by it and is let go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

from headrace.errors import ConnectionLost, WireError
from headrace.router.flow.queue import PoolQueue
from headrace.router.health.progress import suspects
from headrace.router.worker import State, Worker
from headrace.service.secret import HopSecret
from headrace.wire.client import fetch

log = logging.getLogger(__name__)

_TICK = 1.0
_LEAST_PAUSE, _MOST_PAUSE = 5.0, 20.0
_NO_SUCH_ENDPOINT = (404, 405, 501)


class Verdict(StrEnum):
    """What a small request showed."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Monitor:
    """One for all workers. ``told`` is called with the pool and the verdict of each probe."""

    def __init__(
        self,
        pools: Mapping[str, PoolQueue],
        secret: HopSecret,
        clock: Callable[[], float],
        told: Callable[[str, Verdict], None],
        *,
        timeout: float = 10.0,
        pause: float = _LEAST_PAUSE,
    ) -> None:
        """``timeout``: seconds that a suspect has to answer; ``pause``: between two questions to a quarantined one."""
        self._pools = pools
        self._headers = [(b"content-type", b"application/json")]
        if secret.required:
            self._headers.append((b"authorization", b"Bearer " + secret.current))
        self._clock = clock
        self._told = told
        self._timeout = timeout
        self._pause = pause
        self._asked: dict[Worker, asyncio.Task[None]] = {}

    async def run(self) -> None:
        try:
            while True:
                await asyncio.sleep(_TICK)
                self.check()
        finally:
            for task in self._asked.values():
                task.cancel()
            await asyncio.gather(*self._asked.values(), return_exceptions=True)

    def check(self) -> None:
        """Look at every worker that has work; ask those that are suspect."""
        now = self._clock()
        for pool in self._pools.values():
            for worker, reason in suspects(pool.workers, now).items():
                if worker not in self._asked and worker.doubt is None:
                    self._ask(pool.name, worker, reason)
        known = {worker for pool in self._pools.values() for worker in pool.workers}
        for worker, task in self._asked.items():
            if worker not in known:  # it is gone
                task.cancel()

    def _ask(self, pool: str, worker: Worker, reason: str) -> None:
        log.warning("worker suspect", extra={"worker": worker.name, "pool": pool, "reason": reason})
        worker.suspect(State.SUSPECT, reason)
        task = self._asked[worker] = asyncio.create_task(self._examine(pool, worker, reason))
        task.add_done_callback(lambda _: self._asked.pop(worker, None))

    async def _examine(self, pool: str, worker: Worker, reason: str) -> None:
        pause = self._pause
        while worker.in_doubt():  # a new process begins without doubt
            verdict = await self._probe(pool, worker)
            self._told(pool, verdict)
            if verdict is not Verdict.FAILED:
                worker.clear(self._clock())
                log.info("worker cleared", extra={"worker": worker.name, "pool": pool, "probe": verdict})
                return
            if not worker.in_doubt():
                return
            if worker.doubt is State.SUSPECT:
                log.error("worker quarantined", extra={"worker": worker.name, "pool": pool, "reason": reason})
            worker.suspect(State.QUARANTINED, reason)
            for attempt in list(worker.attempts):
                attempt.fail(ConnectionLost(f"{worker.name} is quarantined: {reason}"))
            await asyncio.sleep(pause)
            pause = min(_MOST_PAUSE, pause * 2)

    async def _probe(self, pool: str, worker: Worker) -> Verdict:
        """Send the small request; a sign of progress meanwhile does as well."""
        path, body = small_request(pool, worker)
        began, finished = self._clock(), worker.progress_at
        try:
            answer = await fetch(worker.origin, "POST", path, headers=self._headers, body=body, timeout=self._timeout)
        except WireError:
            moved = worker.progress_at > max(began, finished) and worker.doubt is State.SUSPECT
            return Verdict.OK if moved else Verdict.FAILED
        if answer.status in _NO_SUCH_ENDPOINT:
            return Verdict.UNKNOWN
        return Verdict.FAILED if answer.status >= 500 else Verdict.OK


def small_request(pool: str, worker: Worker) -> tuple[str, bytes]:
    """The path and body of a request that is served by one step of the engine."""
    model = worker.models.get(pool)
    modality = model.modality if model is not None else "text"
    if modality == "embedding":
        return "/v1/embeddings", msgspec.json.encode({"model": pool, "input": "ping"})
    if modality == "rerank":
        return "/v1/rerank", msgspec.json.encode({"model": pool, "query": "ping", "documents": ["ping"]})
    if modality == "classification":
        return "/classify", msgspec.json.encode({"model": pool, "input": "ping"})
    return "/v1/completions", msgspec.json.encode({"model": pool, "prompt": "ping", "max_tokens": 1, "temperature": 0})

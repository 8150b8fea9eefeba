"""What every worker is to the router: its ``/load`` document, its readiness and who may talk to it.

``docs/worker-contract.md`` is the same in prose, for those who bring an engine of their own.
"""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from headrace.errors import Overloaded
from headrace.service.secret import HopSecret
from headrace.telemetry.metrics import Registry
from headrace.wire.limits import MIB, ServerLimits
from headrace.wire.routes import Handler, Routes
from headrace.workers.metrics import WorkerMetrics

if TYPE_CHECKING:
    from headrace.config import WorkerSettings
    from headrace.wire.exchange import Exchange

STALL_TIMEOUT = 30.0
"""Seconds without an iteration, with work dispatched, after which a worker calls itself stalled."""

MAX_BODY = 10 * MIB
"""More than the router's, so that it is the gateway that refuses a body."""


class ServedModel(msgspec.Struct, frozen=True):
    """A model that a worker serves; ``context`` is tokens of prompt and output together."""

    name: str
    context: int
    adapters: tuple[str, ...] = ()
    modality: Literal["text", "embedding", "classification", "rerank"] = "text"
    """What comes out."""
    inputs: tuple[Literal["text", "image"], ...] = ("text",)
    """What goes in."""


class Load(msgspec.Struct, frozen=True):
    """The body of ``GET /load``. Counts are requests, ``kv_*`` are blocks (0 = the worker has none)."""

    running: int
    waiting: int
    max_running: int
    models: tuple[ServedModel, ...]
    epoch: str
    queued_tokens: int = 0
    """Prompt tokens of the requests that wait."""
    kv_used: int = 0
    kv_total: int = 0
    block_size: int = 0
    """Tokens a block."""
    iterations: int = 0
    """The engine's step counter: while there is work it must move."""
    draining: bool = False
    prompt_tokens: int = 0
    """Prompt tokens that the prefix cache was asked for since the start, and ``cached_tokens`` that it had."""
    cached_tokens: int = 0


def new_epoch() -> str:
    """Names one life of a worker: counters that restarted are told from counters that went back."""
    return f"{int(time.time())}-{secrets.token_hex(4)}"


class Progress:
    """Whether an engine moves while it has work.

    The engine calls ``begin`` and ``end`` around every request that it was given and ``step`` after every iteration.
    Each of the three may run in another thread than ``stalled``, but ``step`` in one only.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, timeout: float = STALL_TIMEOUT) -> None:
        self.iterations = 0
        self.timeout = timeout
        self._clock = clock
        self._in_flight = 0
        self._moved = clock()

    def begin(self) -> None:
        if self._in_flight == 0:
            self._moved = self._clock()
        self._in_flight += 1

    def end(self) -> None:
        self._in_flight -= 1

    def step(self) -> None:
        self.iterations += 1
        self._moved = self._clock()

    def stalled(self) -> float:
        """Seconds since the last sign of life; 0 while there is no work or the engine moves."""
        still = self._clock() - self._moved
        return still if self._in_flight > 0 and still > self.timeout else 0.0


class Worker(ABC):
    """Base of the workers that are engines themselves; a subclass adds its routes with ``route``.

    It is a ``headrace.service.Service``. ``warm`` is set by the subclass's ``start`` after a first real generation.
    """

    name: str

    def __init__(self, settings: WorkerSettings, progress: Progress | None = None) -> None:
        self.routes = Routes()
        self.registry = Registry()
        self.progress = progress or Progress(timeout=settings.stall_timeout)
        self.epoch = new_epoch()
        self.model = settings.served_name
        self.warm = False
        self.draining = False
        self.failure: str | None = None
        """Why the engine cannot go on; only a restart helps."""
        self.limits = ServerLimits(body=MAX_BODY)
        self.engine_restarts = 0
        self._state = WorkerMetrics(self.registry, self.name, self.model)
        self.registry.on_collect(self._collect_state)
        self._secret = HopSecret(settings.hop_secret, settings.hop_secret_previous)

    @abstractmethod
    async def start(self) -> None:
        """Load the model and answer one request with it. Raises ModelError."""

    @abstractmethod
    async def close(self) -> None:
        """Cancel what runs and free the model."""

    @abstractmethod
    def snapshot(self) -> Load:
        """The load right now."""

    def load(self) -> bytes:
        return msgspec.json.encode(self.snapshot())

    def debug(self, path: str) -> bytes | None:
        """JSON for ``GET /debug/<path>``; None if there is no such page."""
        return None

    def unready(self) -> str | None:
        """Why no request should come here; None if there is no reason."""
        if self.failure is not None:
            return self.failure
        if not self.warm:
            return "loading the model"
        if self.draining:
            return "draining"
        if stalled := self.progress.stalled():
            return f"stalled: work is dispatched, but no iteration for {stalled:.0f} s"
        return None

    async def drain(self) -> None:
        """Admit nothing more; what runs goes on."""
        self.draining = True

    def admit(self) -> None:
        """Raises Overloaded unless the worker takes requests; a stalled one does, since only its probes can tell."""
        if self.draining:
            raise Overloaded("This worker is draining; use another one.", code="draining", retry_after=1)
        if self.failure is not None or not self.warm:
            raise Overloaded("This worker is not ready.", code="not_ready", retry_after=5)

    def _collect_state(self) -> None:
        self._state.ready.set(self.unready() is None)
        self._state.draining.set(self.draining)
        self._state.stalled.set(self.progress.stalled() > 0)
        self._state.restarts.value = self.engine_restarts

    def route(self, method: str, path: str, handler: Handler) -> None:
        """Serve ``path`` on the traffic port, to those who know the hop secret."""

        async def guarded(exchange: Exchange) -> None:
            self._secret.demand(exchange.request)
            await handler(exchange)

        self.routes.add(method, path, guarded)

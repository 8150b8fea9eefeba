"""One worker, as the router knows it: what it serves, how it is, and what we gave it.

Nothing here reads a clock or talks to anybody: looks and deliveries tell it what happened, and it tells the queues
that it stands in when it may take something.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec
from xxhash import xxh3_64_intdigest

from headrace.wire.client import Origin

if TYPE_CHECKING:
    from headrace.errors import WireError
    from headrace.router.ticket import Ticket

BARE_ENGINE_SLOTS = 256
"""Requests at a time for an engine that does not tell how many it runs (vLLM's own default)."""


class State(StrEnum):
    UNKNOWN = "unknown"
    """Not looked at yet."""
    STARTING = "starting"
    READY = "ready"
    SUSPECT = "suspect"
    """It has work and makes no progress; it is being probed and gets nothing new."""
    QUARANTINED = "quarantined"
    """It failed the probe: what it had was taken elsewhere. Probed until it answers again."""
    DRAINING = "draining"
    DOWN = "down"
    MISNAMED = "misnamed"
    """It answers, but serves no model of its pools' names."""


class ModelLoad(msgspec.Struct, frozen=True):
    name: str
    context: int = 0
    adapters: tuple[str, ...] = ()
    modality: str = "text"
    inputs: tuple[str, ...] = ("text",)


class Load(msgspec.Struct, frozen=True):
    """What a worker says of itself. Fields that it does not know are 0; fields that we do not know are ignored."""

    running: int = 0
    waiting: int = 0
    max_running: int = BARE_ENGINE_SLOTS
    queued_tokens: int = 0
    kv_used: int = 0
    kv_total: int = 0
    block_size: int = 0
    iterations: int = 0
    models: tuple[ModelLoad, ...] = ()
    draining: bool = False
    epoch: str = ""
    prompt_tokens: int = 0
    """Prompt tokens that its prefix cache was asked for since it started, and ``cached_tokens`` that it had."""
    cached_tokens: int = 0


class Line(Protocol):
    """A queue that a worker serves."""

    def updated(self, worker: Worker) -> None:
        """The worker may take something now, or no longer."""

    def forget(self, worker: Worker) -> None:
        """The worker began anew: what was learned of it is void."""


class Attempt(Protocol):
    """A request of ours on its way through a worker, as health sees it; ``wire.relay.Relay`` is one."""

    last_event: float
    """``time.monotonic()`` of the last event that came; 0 before the first."""
    paused: bool
    """We do not read: the client is slow."""

    def fail(self, error: WireError) -> None:
        """Give it up."""


class Worker:
    """A server of one or more models. ``url`` is its traffic port, ``ops_url`` None for a bare engine."""

    def __init__(self, url: str, ops_url: str | None = None, *, pools: Iterable[str] = (), shares: int = 1) -> None:
        """``pools`` it is there for; ``shares``: processes and replicas of the router that share its slots."""
        self.url = url
        self.pools = frozenset(pools)
        self.origin = Origin(url)
        self.name = self.origin.name
        self.name_bytes = self.name.encode()
        self.seed = xxh3_64_intdigest(self.name_bytes)
        """For rendezvous hashing: every replica of the router has the same."""
        self.ops_origin = Origin(ops_url) if ops_url else None
        self.engine = "headrace" if ops_url else ""
        """What it is, once it is known: ``vllm``, ``llamacpp``, …"""
        self.state = State.UNKNOWN
        self.reason = "not looked at yet"
        self.doubt: State | None = None
        """SUSPECT or QUARANTINED while it is being probed: it gets nothing, whatever it says of itself."""
        self.progress_at = 0.0
        """When it last gave a sign of progress, as far as we know (``health.progress``)."""
        self.failures = 0
        """Requests in a row that it answered with a fault of its own."""
        self.leaving = False
        """Discovery does not name it any more: it finishes what it has."""
        self.load = Load()
        self.models: dict[str, ModelLoad] = {}
        self.lines: list[Line] = []
        self.attempts: set[Attempt] = set()
        """Our requests that it works on, for those who can tell of their progress."""
        self.in_flight = 0
        """Requests of ours that it works on."""
        self.work = 0
        """Their estimated tokens."""
        self.prefill = 0.0
        """Prompt tokens of ours that it has still to compute: of requests without a first byte."""
        self.slots = 0
        """Requests of ours that it may have at a time."""
        self.told = 0
        """Requests that it says it has, whoever sent them."""
        self.kv_usage = 0.0
        """0 to 1; 0 where it does not tell."""
        self.kv_room: float = math.inf
        """Tokens that its KV cache still takes, as far as we know; infinite where it does not tell."""
        self.held: dict[bytes, tuple[int, float]] = {}
        """Requests of ours that it works on, by tenant, and the tokens that it computes for them."""
        self.output = 0
        """Tokens that our requests that it works on are expected to generate."""
        self._shares = shares
        self._answer = 0.0
        """Tokens that one of our requests is expected to generate, on average, when there were some last."""
        self._size_slots()

    @property
    def bare(self) -> bool:
        """An engine without our supervisor."""
        return self.ops_origin is None

    def in_doubt(self) -> bool:
        """Whether it is being probed."""
        return self.doubt is not None

    @property
    def requests(self) -> int:
        """Requests that it has, ours and those of other routers."""
        return max(self.in_flight, self.told)

    def accepts(self, pool: str) -> bool:
        """Whether a request for ``pool`` may go to it now, as far as slots are concerned."""
        return self.state is State.READY and self.in_flight < self.slots and pool in self.models

    def within(self, tenant: bytes, share: float) -> bool:
        """Whether ``tenant``, which has something here, may have more: alone it may, else up to ``share`` of the slots
        and of the KV cache. A full batch makes each token of everybody's slower, whoever filled it.
        """
        if len(self.held) == 1:
            return True
        requests, tokens = self.held[tenant]
        kv = self.load.kv_total * self.load.block_size / self._shares
        return requests < share * self.slots and (not kv or tokens < share * kv)

    def turn(self, state: State, reason: str = "") -> bool:
        """Be in another state from now on. False if it is the one that it was in.

        While it is in doubt it can be known to drain or to be down, but not to be well.
        """
        if self.doubt is not None and state in (State.READY, State.STARTING):
            return False
        self.reason = reason
        if state is self.state:
            return False
        self.state = state
        self._tell()
        return True

    def suspect(self, doubt: State, reason: str) -> None:
        """It is being probed."""
        self.doubt = doubt
        if self.state not in (State.DOWN, State.DRAINING):
            self.state, self.reason = doubt, reason
            self._tell()

    def clear(self, now: float) -> None:
        """The doubt was unfounded, or is over; the next look tells the rest."""
        self.doubt, self.failures, self.progress_at = None, 0, now
        if self.state in (State.SUSPECT, State.QUARANTINED):
            self.turn(State.READY)

    def observe(self, load: Load) -> None:
        """Take in what the worker says of itself. A new epoch starts cold."""
        known, self.load = self.load, load
        if load.max_running <= 0:
            self.load = load = msgspec.structs.replace(load, max_running=BARE_ENGINE_SLOTS)
        if load.models != known.models or not self.models:
            self.models = {model.name: model for model in load.models}
        if known.epoch and load.epoch != known.epoch:
            self._begin_anew()
        self.told = load.running + load.waiting
        self.kv_usage = load.kv_used / load.kv_total if load.kv_total else 0.0
        self._size_slots()
        free = (load.kv_total - load.kv_used) * load.block_size
        self.kv_room = math.inf
        if load.kv_total and load.block_size:
            # Prompts that wait inside it hold nothing yet, and what runs is on average in the middle of its answer;
            # other routers' answers are taken to be like ours.
            if self.in_flight:
                self._answer = self.output / self.in_flight
            self.kv_room = free - max(self.prefill, load.queued_tokens) - self.requests * self._answer / 2
        if load != known:
            self._tell()

    def _begin_anew(self) -> None:
        """It is another process: what was learned of the old one, and what was held against it, is void."""
        for line in self.lines:
            line.forget(self)
        self.doubt, self.failures = None, 0
        if self.state in (State.SUSPECT, State.QUARANTINED):
            self.turn(State.STARTING, "it was started anew")

    def share(self, shares: int) -> None:
        """Take that many to share the slots from now on."""
        if shares != self._shares:
            self._shares = shares
            self._size_slots()
            self._tell()

    def begin(self, ticket: Ticket) -> None:
        """It got a request."""
        self.in_flight += 1
        self.work += ticket.work
        self.output += ticket.output_tokens
        self.prefill += ticket.uncached
        self.kv_room -= ticket.work
        ticket.held = held = ticket.uncached + ticket.output_tokens
        requests, tokens = self.held.get(ticket.tenant, (0, 0.0))
        self.held[ticket.tenant] = requests + 1, tokens + held
        if self.in_flight == self.slots:
            self._tell()

    def answered(self, ticket: Ticket) -> None:
        """The first byte of its answer is here."""
        self.prefill -= ticket.uncached
        ticket.uncached = 0.0

    def end(self, ticket: Ticket) -> None:
        """The request is no longer with it."""
        full = self.in_flight >= self.slots
        self.in_flight -= 1
        self.work -= ticket.work
        self.output -= ticket.output_tokens
        self.kv_room += ticket.work
        requests, tokens = self.held.pop(ticket.tenant)
        if requests > 1:
            self.held[ticket.tenant] = requests - 1, tokens - ticket.held
        self.prefill -= ticket.uncached
        ticket.uncached = 0.0
        if not self.in_flight:
            self.prefill = 0.0  # what rounding left
        if len(self.lines) > 1:  # each pool is the first to be served in its turn
            self.lines.append(self.lines.pop(0))
            self._tell()
        elif full:
            self._tell()

    def close(self) -> None:
        self.origin.close()
        if self.ops_origin is not None:
            self.ops_origin.close()

    def _size_slots(self) -> None:
        """Our share, or what we have plus our share of what nobody uses: idle neighbours' slots are not left empty."""
        load = self.load
        unused = max(0, load.max_running - self.told)
        share, spare = -(-load.max_running // self._shares), -(-unused // self._shares)
        alone = self._shares == 1
        self.slots = load.max_running if alone else min(load.max_running, max(share, self.in_flight + spare))

    def _tell(self) -> None:
        for line in list(self.lines):
            line.updated(self)

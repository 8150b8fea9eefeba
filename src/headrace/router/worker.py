"""One worker, as the router knows it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from headrace.wire.client import Origin

if TYPE_CHECKING:
    from headrace.router.ticket import Ticket

BARE_ENGINE_SLOTS = 256
"""Requests at a time for an engine that does not tell how many it runs (vLLM's own default)."""


class State(StrEnum):
    UNKNOWN = "unknown"
    """Not looked at yet."""
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    DOWN = "down"
    MISNAMED = "misnamed"
    """It answers, but serves no model of the pool's name."""


class ModelLoad(msgspec.Struct, frozen=True):
    name: str
    context: int = 0
    adapters: tuple[str, ...] = ()
    modality: str = "text"


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


class Worker:
    """A worker of one pool: where it is, how it is, and what we gave it."""

    def __init__(self, pool: str, url: str, ops_url: str | None) -> None:
        self.pool = pool
        self.url = url
        self.origin = Origin(url)
        self.name = self.origin.name
        self.name_bytes = self.name.encode()
        self.ops_origin = Origin(ops_url) if ops_url else None
        self.state = State.UNKNOWN
        self.reason = "not looked at yet"
        self.load = Load()
        self.in_flight = 0
        """Requests of ours that it works on."""
        self.in_flight_then = 0
        """What that was when ``load`` was told."""
        self.work = 0
        """Their estimated tokens."""

    @property
    def bare(self) -> bool:
        """An engine without our supervisor."""
        return self.ops_origin is None

    @property
    def model(self) -> ModelLoad | None:
        return next((model for model in self.load.models if model.name == self.pool), None)

    def observe(self, load: Load) -> None:
        """Take in what the worker says of itself."""
        self.load = load if load.max_running > 0 else msgspec.structs.replace(load, max_running=BARE_ENGINE_SLOTS)
        self.in_flight_then = self.in_flight

    def begin(self, ticket: Ticket) -> None:
        self.in_flight += 1
        self.work += ticket.work

    def end(self, ticket: Ticket) -> None:
        self.in_flight -= 1
        self.work -= ticket.work

    def close(self) -> None:
        self.origin.close()
        if self.ops_origin is not None:
            self.ops_origin.close()

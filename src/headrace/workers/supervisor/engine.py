"""What the supervisor has to know of an engine. Each kind of engine puts all its facts behind this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from headrace.wire.client import Origin
from headrace.workers.contract import ServedModel
from headrace.workers.supervisor.ending import Ending

PATIENCE = 10.0
"""Seconds that an engine gets for an answer that costs it nothing: its HTTP side may be busy."""


@dataclass(frozen=True, slots=True)
class Look:
    """What an engine says of itself at one moment. Counts are requests, ``kv_*`` are blocks."""

    running: int = 0
    waiting: int = 0
    iterations: int = 0
    """Grows with every step of the engine, or at least whenever something was seen to move."""
    kv_used: int = 0
    kv_total: int = 0
    block_size: int = 0
    prompt_tokens: int = 0
    """Prompt tokens that its prefix cache was asked for, and ``cached_tokens`` that it had; both only grow."""
    cached_tokens: int = 0

    @property
    def busy(self) -> bool:
        return self.running + self.waiting > 0


class Engine(ABC):
    """One kind of engine with its settings. Its HTTP questions go to ``origin`` and raise WireError."""

    name: ClassVar[str]
    """Of the worker, such as ``vllm-worker``."""
    origin: Origin
    max_running: int
    """Requests that it runs at the same time."""
    grace: ClassVar[float]
    """Seconds that it takes to end after SIGTERM, once nothing runs any more."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command line. What it needs on disk is written here."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Of the engine's process."""

    @abstractmethod
    async def health(self) -> bool | None:
        """Its own word on whether it is well; None where it does not answer."""

    @abstractmethod
    async def generate(self, timeout: float) -> None:
        """Generate one token, to warm up or to find out whether it still can. Raises WireError where it cannot."""

    @abstractmethod
    async def models(self) -> tuple[ServedModel, ...]:
        """What it serves."""

    @abstractmethod
    async def look(self) -> Look:
        """Its load, from its metrics. ``PATIENCE`` is what it gets to answer."""

    @abstractmethod
    async def metrics(self, timeout: float) -> bytes:
        """Its own metrics, Prometheus text."""

    def close(self) -> None:
        """Free connections, and delete what ``command`` wrote."""
        self.origin.close()

    @abstractmethod
    def explain(self, code: int, log: Sequence[str]) -> Ending:
        """Why it ended: ``code`` as ``subprocess`` has it, ``log`` its last lines."""

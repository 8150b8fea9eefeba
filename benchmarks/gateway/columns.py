"""The three figures that are measured, and their goals (the budgets of the design)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Key = Literal["json", "stream", "latency"]

FAST_MODEL = "mock"
"""Answers at once."""
PACED_MODEL = "paced"
"""Sends a token every ``PACE``."""
PACE = "5ms"
PACES: Mapping[str, str] = MappingProxyType({FAST_MODEL: "0", PACED_MODEL: PACE})
"""What the mock workers wait between two tokens, by model."""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure: what is asked of the instrument, and what the answer may cost."""

    key: Key
    title: str
    unit: str
    model: str
    clients: int
    requests: int
    quick_requests: int
    goal: float
    """At most this many times nginx's; for latency, milliseconds on top of the direct way."""
    tokens: int = 0
    quick_tokens: int = 0

    def arguments(self, quick: bool) -> list[str]:
        """Flags of ``loadbench load``. Its default prompt of 200 words is 1 KB."""
        requests, tokens = (self.quick_requests, self.quick_tokens) if quick else (self.requests, self.tokens)
        flags = ["-model", self.model, "-c", str(self.clients), "-n", str(requests)]
        if tokens:
            flags += ["-stream", "-check", "-tokens", str(tokens)]
        return flags


COLUMNS = (
    Column("json", "JSON request, 32 clients, 1 KB prompt", "µs CPU per request", FAST_MODEL, 32, 15_000, 1_500, 5.0),
    Column(
        "stream",
        "SSE chunk, 100 streams, one every 5 ms",
        "µs CPU per chunk",
        PACED_MODEL,
        clients=100,
        requests=200,
        quick_requests=100,
        goal=2.8,
        tokens=256,
        quick_tokens=64,
    ),
    Column("latency", "Added latency, 1 client, JSON request", "ms p50", FAST_MODEL, 1, 3_000, 300, 0.25),
)


def select(key: str | None) -> tuple[Column, ...]:
    """All columns, or the one that was asked for."""
    return tuple(column for column in COLUMNS if key is None or column.key == key)

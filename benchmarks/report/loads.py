"""The loads of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.gateway.columns import FAST_MODEL, PACE, PACED_MODEL

SLOW_MODEL = "slow"
PACES: Mapping[str, str] = {FAST_MODEL: "0", PACED_MODEL: PACE, SLOW_MODEL: "100ms"}


@dataclass(frozen=True, slots=True)
class Load:
    """What ``loadbench`` is asked for. A prompt has about 5.4 bytes a word."""

    key: str
    title: str
    model: str
    clients: int
    requests: int
    words: int = 200
    tokens: int = 0
    """Of a stream; 0: an answer in one piece."""

    @property
    def unit(self) -> str:
        return "chunk" if self.tokens else "request"

    def arguments(self, part: float = 1.0) -> list[str]:
        """Flags; ``part`` of the requests, but never fewer than there are clients."""
        requests = max(self.clients, int(self.requests * part))
        flags = ["-model", self.model, "-c", str(self.clients), "-n", str(requests), "-prompt", str(self.words)]
        return [*flags, "-stream", "-check", "-tokens", str(self.tokens)] if self.tokens else flags


LOADS = (
    Load("json-1", "JSON, 1 client, 1 KB", FAST_MODEL, 1, 1000),
    Load("json-32", "JSON, 32 clients, 1 KB", FAST_MODEL, 32, 5000),
    Load("json-32k", "JSON, 32 clients, 32 KB", FAST_MODEL, 32, 1500, words=6_000),
    Load("json-500k", "JSON, 8 clients, 500 KB", FAST_MODEL, 8, 150, words=92_000),
    Load("stream-1", "stream, 1 at a time, a token every 5 ms", PACED_MODEL, 1, 8, tokens=64),
    Load("stream-100", "streams, 100 at a time, a token every 5 ms", PACED_MODEL, 100, 200, tokens=128),
    Load("stream-1000", "streams, 1,000 at a time, a token every 100 ms", SLOW_MODEL, 1000, 1000, tokens=16),
)
BY_PROCESSES = ("json-32", "stream-100")
"""Those that are measured with two processes, too."""

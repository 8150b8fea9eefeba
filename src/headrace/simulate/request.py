"""One request of a workload, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

from headrace.simulate.text import Text

Session = Generator["Request", None, None]
"""What one user asks for, one request after the other: the next one is made when the last one is over."""


@dataclass(eq=False, slots=True)
class Request:
    tenant: str
    prompt: Text
    answered: Text
    """The prompt and the answer: what the engine's cache holds afterwards."""
    output: int
    """Tokens of the answer; at least 1."""
    size: int
    """Bytes of the prompt, from which llm-api estimates its tokens."""
    pause: float = 0.0
    """Seconds between the end of the request before it and this one."""
    session: str = ""
    arrived: float = 0.0
    first: float = math.inf
    """When its first token came."""
    finished: float = math.inf
    cached: int = 0
    """Prompt tokens that its engine had."""
    tries: int = 0
    """Engines that it was sent to."""
    failed: str = ""
    """Why it has no answer."""

    @property
    def ttft(self) -> float:
        return self.first - self.arrived

    @property
    def tpot(self) -> float:
        """Seconds for each token after the first, on average."""
        return (self.finished - self.first) / (self.output - 1) if self.output > 1 else 0.0

    @property
    def work(self) -> int:
        """Tokens, prompt and answer."""
        return self.prompt.tokens + self.output

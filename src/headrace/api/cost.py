"""What a request will cost, in tokens, before it ran (design, section 1): the ``x-headrace-cost`` header.

The prompt is estimated from its bytes and the model's bytes per token, the output from what the model's answers were
so far; both are learned from the usage of finished requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

_MEDIUM = 1024  # tokens: an image of about one megapixel, in the usual vision encoders
_MEMORY = 64  # requests: how many of the last ones an average stands for
_LEAST, _MOST = 0.5, 32.0  # bytes per token; beyond these somebody counts wrongly


class Cost(NamedTuple):
    """Estimated tokens."""

    prompt: int
    output: int

    def header(self) -> bytes:
        """``prompt,output``"""
        return b"%d,%d" % self


@dataclass(slots=True)
class _Model:
    """Sums that fade, so that long prompts weigh more: there a wrong ratio costs most."""

    bytes: float
    tokens: float
    output: float
    """Tokens of a sequence, on average."""


class Estimator:
    """Estimates per model; starts from ``bytes_per_token`` and ``output``, and keeps ``models`` models at most."""

    def __init__(self, *, bytes_per_token: float = 4.0, output: float = 256.0, models: int = 1024) -> None:
        self._initial = bytes_per_token
        self._output = output
        self._limit = models
        self._models: dict[str, _Model] = {}

    def bytes_per_token(self, model: str) -> float:
        known = self._models.get(model)
        return self._initial if known is None else min(max(known.bytes / known.tokens, _LEAST), _MOST)

    def estimate(
        self, model: str, size: int, *, media: int = 0, sequences: int = 1, output_cap: int | None = None
    ) -> Cost:
        """``size`` is the prompt's bytes; ``sequences`` is 0 where nothing is generated; ``output_cap`` is for each."""
        prompt = math.ceil(size / self.bytes_per_token(model)) + media * _MEDIUM
        if not sequences:
            return Cost(prompt, 0)
        known = self._models.get(model)
        output = math.ceil(self._output if known is None else known.output)
        return Cost(prompt, sequences * (output if output_cap is None else min(output, output_cap)))

    def learn(self, model: str, size: int, prompt_tokens: int, *, sequences: int = 0, output_tokens: int = 0) -> None:
        """Take in a finished request without media; ``output_tokens`` are those of all its ``sequences``."""
        if size <= 0 or prompt_tokens <= 0:
            return
        known = self._models.get(model)
        if known is None:
            known = self._add(model)
        fade = 1 - 1 / _MEMORY
        known.bytes = known.bytes * fade + size
        known.tokens = known.tokens * fade + prompt_tokens
        if sequences > 0:
            known.output += (output_tokens / sequences - known.output) / _MEMORY

    def _add(self, model: str) -> _Model:
        if len(self._models) >= self._limit:
            del self._models[next(iter(self._models))]
        # The first guess weighs as much as one short prompt: a real request soon outvotes it.
        self._models[model] = known = _Model(bytes=self._initial * 64, tokens=64.0, output=self._output)
        return known

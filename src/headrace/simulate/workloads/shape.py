"""Lengths and pauses that all workloads draw from.

Medians are those that Patel et al., "Splitwise" (ISCA 2024), publish for Azure's traces: conversations with a median
prompt of 1,020 tokens and a median answer of 129, code completions with 1,500 and 13; lengths are log-normal around
them, as in BurstGPT (Wang et al., 2024). No trace itself is in this repository.
"""

from __future__ import annotations

import random
from itertools import accumulate

from headrace.simulate.request import Request
from headrace.simulate.text import TOKEN_BYTES, Text

ANSWER = 129


def length(rng: random.Random, median: float, spread: float, most: int) -> int:
    """Tokens: log-normal, at least 4."""
    return max(4, min(most, round(median * rng.lognormvariate(0.0, spread))))


def zipf(rng: random.Random, count: int, exponent: float = 1.0) -> int:
    """One of ``count`` things, the first ones the most popular."""
    weights = list(accumulate((number + 1) ** -exponent for number in range(count)))
    return rng.choices(range(count), cum_weights=weights)[0]


def request(
    rng: random.Random, tenant: str, session: str, turn: int, prompt: Text, answer: int, pause: float = 0.0
) -> Request:
    """Its bytes are known exactly, what a token has of them is not: estimates are off by a tenth."""
    size = round(prompt.tokens * TOKEN_BYTES * rng.lognormvariate(0.0, 0.1))
    return Request(tenant, prompt, prompt.plus(f"{session}/{turn}!", answer), answer, size, pause, session)

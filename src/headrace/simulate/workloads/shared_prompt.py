"""Applications that put a long prompt of their own before every short question: few prompts, very unequally popular."""

from __future__ import annotations

import random

from headrace.simulate.request import Session
from headrace.simulate.text import Text
from headrace.simulate.workloads.shape import length, request, zipf

_PROMPTS = 24


def shared_prompt(rng: random.Random, tenant: str, session: str, pause: float) -> Session:
    """One question."""
    number = zipf(rng, _PROMPTS)
    text = Text().plus(f"prompt {number}", 1500 + 400 * (number % 7)).plus(f"{session}?", length(rng, 80, 0.8, 1000))
    yield request(rng, tenant, session, 0, text, length(rng, 60, 0.8, 500))

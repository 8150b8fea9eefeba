"""Conversations of several turns: each prompt is the one before, its answer, and something new.

A tenant's conversations share its system prompt of some hundred tokens; the number of turns is geometric with a mean of
five, as in ShareGPT's conversations.
"""

from __future__ import annotations

import random

from headrace.simulate.request import Session
from headrace.simulate.text import Text
from headrace.simulate.workloads.shape import ANSWER, length, request

_LAST = 0.2
"""Chance that a turn is the last one."""
_MOST_TURNS = 20


def chat(rng: random.Random, tenant: str, session: str, pause: float) -> Session:
    """``pause``: mean seconds between an answer and the next question."""
    text = Text().plus(f"system of {tenant}", 100 + 50 * (sum(tenant.encode()) % 13))
    for turn in range(_MOST_TURNS):
        text = text.plus(f"{session}/{turn}?", length(rng, 130, 1.0, 4000))
        asked = request(rng, tenant, session, turn, text, length(rng, ANSWER, 0.8, 1000), rng.expovariate(1 / pause))
        yield asked
        text = asked.answered
        if rng.random() < _LAST:
            return

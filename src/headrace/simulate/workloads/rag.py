"""Retrieval: instructions, some documents, a question. Documents are shared between prompts, but the prompts are long
and distinct: a cached prefix ends where the first document differs.
"""

from __future__ import annotations

import random

from headrace.simulate.request import Session
from headrace.simulate.text import Text
from headrace.simulate.workloads.shape import ANSWER, length, request, zipf

_DOCUMENTS = 400
_EACH = 3


def rag(rng: random.Random, tenant: str, session: str, pause: float) -> Session:
    """One question over three documents, the most relevant first."""
    text = Text().plus("instructions", 192)
    for _ in range(_EACH):
        number = zipf(rng, _DOCUMENTS, 0.9)
        text = text.plus(f"document {number}", 300 + 97 * (number % 11))
    text = text.plus(f"{session}?", length(rng, 40, 0.6, 300))
    yield request(rng, tenant, session, 0, text, length(rng, ANSWER, 0.6, 600))

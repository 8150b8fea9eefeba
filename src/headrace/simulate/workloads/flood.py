"""A tenant without manners: long prompts that nobody else has, long answers, as many as it likes."""

from __future__ import annotations

import random

from headrace.simulate.request import Session
from headrace.simulate.text import Text
from headrace.simulate.workloads.shape import length, request

ABUSER = "abuser"


def flood(rng: random.Random, tenant: str, session: str, pause: float) -> Session:
    yield request(
        rng, tenant, session, 0, Text().plus(f"{session}?", length(rng, 2500, 0.4, 6000)), length(rng, 300, 0.4, 800)
    )

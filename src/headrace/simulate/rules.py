"""What is compared, by name: profiles of ours, and the rules of others."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from headrace.api.cost import Estimator
from headrace.errors import ConfigError
from headrace.router.scheduling import profiles
from headrace.simulate.engine import Engine
from headrace.simulate.request import Request
from headrace.simulate.rivals.cache_aware import CacheAware
from headrace.simulate.rivals.least_request import LeastRequest
from headrace.simulate.rivals.llm_d import LlmD
from headrace.simulate.rivals.round_robin import RoundRobin
from headrace.simulate.routers.headrace import Headrace
from headrace.simulate.routers.rival import Rival, Rule
from headrace.simulate.spread import ByPrefix, InTurn, Spread
from headrace.simulate.timeline import Timeline

RIVALS: Mapping[str, Callable[[random.Random], Rule]] = {
    "cache_aware": lambda rng: CacheAware(),
    "llm-d": LlmD,
    "least request": lambda rng: LeastRequest(),
    "round robin": lambda rng: RoundRobin(),
}
OURS = ("latency", "prefix", "least-work", "power-of-two")
"""The profiles that are compared unless others are asked for; the first is the default."""
NAMES = (*OURS, *RIVALS)

Own = Mapping[str, Mapping[str, float]]
"""Profiles of the configuration."""


def check(name: str, own: Own) -> None:
    """Raises ConfigError for a name that is neither a profile nor a rival."""
    known = {**RIVALS, **profiles.PROFILES, **own}
    if name not in known:
        raise ConfigError(f"simulate: there is no profile or rule {name!r}; there are {', '.join(known)}")


def build(
    name: str, own: Own, replicas: int, timeline: Timeline, engines: Sequence[Engine], over: Callable[[Request], None]
) -> tuple[list[Headrace] | list[Rival], Spread]:
    """``replicas`` routers, and how requests are spread over them."""
    rngs = [random.Random(f"router {number}") for number in range(replicas)]  # noqa: S311  repeatable
    if name in RIVALS:
        rivals = [Rival(timeline, engines, RIVALS[name](rng), over) for rng in rngs]
        return rivals, InTurn(rivals)
    estimator = Estimator()
    ours = [Headrace(timeline, engines, estimator, over, rng, profile=name, own=own, replicas=replicas) for rng in rngs]
    return ours, ByPrefix(ours)

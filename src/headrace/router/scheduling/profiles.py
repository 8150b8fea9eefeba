"""Profiles by name: which filters and scorers choose the workers of a pool."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from headrace.errors import ConfigError
from headrace.router.scheduling.adapters import Adapters
from headrace.router.scheduling.decisions import Decisions
from headrace.router.scheduling.latency import Latency
from headrace.router.scheduling.least_work import LeastWork
from headrace.router.scheduling.lora_affinity import LoraAffinity
from headrace.router.scheduling.power_of_two import TwoChoices
from headrace.router.scheduling.prefix_affinity import PrefixAffinity
from headrace.router.scheduling.prefix_index import PrefixIndex
from headrace.router.scheduling.round_robin import RoundRobin
from headrace.router.scheduling.scheduler import Filter, Profile, Scheduler, Scorer
from headrace.router.scheduling.session import SessionAffinity

PROFILES: Mapping[str, Mapping[str, float]] = {
    "latency": {"latency": 1},
    "prefix": {"prefix": 3, "least-work": 1},
    "session": {"session": 3, "least-work": 1},
    "lora": {"lora": 3, "least-work": 1},
    "least-work": {"least-work": 1},
    "power-of-two": {"power-of-two": 1, "least-work": 1},
    "round-robin": {"round-robin": 1},
}
"""Weights of the scorers. ``power-of-two`` is a filter: its number says nothing."""

_SCORERS: Mapping[str, Callable[[PrefixIndex], Scorer]] = {
    "latency": Latency,
    "least-work": lambda index: LeastWork(),
    "lora": lambda index: LoraAffinity(),
    "prefix": PrefixAffinity,
    "round-robin": lambda index: RoundRobin(),
    "session": lambda index: SessionAffinity(),
}
_TWO = "power-of-two"
PLUGINS = (*_SCORERS, _TWO)


def build(
    name: str,
    profiles: Mapping[str, Mapping[str, float]],
    rng: random.Random,
    decisions: Decisions | None = None,
) -> Scheduler:
    """A scheduler of its own for one pool. ``profiles``: those of the configuration, which go before ours.

    Raises ConfigError for a name that neither has, and for a plugin that does not exist.
    """
    weights = profiles.get(name) or PROFILES.get(name)
    if weights is None:
        raise ConfigError(
            f"router: there is no profile {name!r}; there are {', '.join(sorted({*profiles, *PROFILES}))}"
        )
    unknown = [plugin for plugin in weights if plugin not in PLUGINS]
    if unknown:
        raise ConfigError(
            f"router: profile {name!r}: no plugin is named {unknown[0]!r}; there are {', '.join(PLUGINS)}"
        )
    index = PrefixIndex()
    filters: list[Filter] = [Adapters()]
    if _TWO in weights:
        filters.append(TwoChoices(rng))
    scorers = [(_SCORERS[plugin](index), float(weight)) for plugin, weight in weights.items() if plugin != _TWO]
    if not scorers:
        raise ConfigError(f"router: profile {name!r} has no scorer; add one of {', '.join(_SCORERS)}")
    return Scheduler(Profile(name, filters, scorers), index, rng, decisions or Decisions())

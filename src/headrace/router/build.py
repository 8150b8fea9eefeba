"""The pools of a router, from its settings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from headrace.config import PoolSettings, RouterSettings
from headrace.router.flow.queue import PoolQueue
from headrace.router.scheduling import profiles


def build_pools(settings: RouterSettings, named: Iterable[str], clock: Callable[[], float]) -> dict[str, PoolQueue]:
    """One for each pool of the settings, and for each that a worker is ``named`` for. Raises ConfigError.

    A queue's capacity is that of the whole service: each process and each replica has its share.
    """
    shares = settings.processes * settings.replicas
    pools = {}
    for name in dict.fromkeys((*settings.pools, *named)):
        own = settings.pools.get(name, PoolSettings())
        scheduler = profiles.build(
            own.profile or settings.profile,
            settings.profiles,
            random.Random(),  # noqa: S311  ties, not secrets
        )
        capacity = -(-(own.queue or settings.queue) // shares)
        cold_wait = own.cold_wait or settings.cold_wait
        pools[name] = PoolQueue(name, scheduler, capacity=capacity, cold_wait=cold_wait, clock=clock)
    return pools

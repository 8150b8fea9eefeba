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
        cold_wait = own.cold_wait or settings.cold_wait
        places = capacity(settings, name, shares)
        pools[name] = PoolQueue(
            name,
            scheduler,
            capacity=places,
            cold_wait=cold_wait,
            clock=clock,
            tenant_share=own.tenant_share or settings.tenant_share,
        )
    return pools


def capacity(settings: RouterSettings, pool: str, shares: int) -> int:
    """Requests that may wait for ``pool`` in each of so many processes."""
    own = settings.pools.get(pool)
    return -(-((own and own.queue) or settings.queue) // shares)

"""The routers, and what they say of their pools."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

import msgspec
from xxhash import xxh3_64_intdigest

from headrace.api.addresses import Addresses, Resolve
from headrace.errors import Overloaded, WireError
from headrace.openai.models import Architecture, Model, Status
from headrace.service.secret import HopSecret
from headrace.wire import contract
from headrace.wire.client import Origin, fetch

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_STARTED = int(time.time())
_OUTPUTS = {"embedding": "embeddings"}
"""OpenRouter's word, where it is not ours."""
_BOUND, _SLACK = 1.25, 8.0
"""A router gets at most so many times its fair share of our requests; so few are no load for any."""


class WorkerView(msgspec.Struct):
    name: str
    state: str


class PoolView(msgspec.Struct):
    """A pool as one router sees it."""

    name: str
    context: int = 0
    modality: str = "text"
    queued: int = 0
    wait_ms: int = 0
    adapters: list[str] = []
    workers: list[WorkerView] = []
    inputs: Sequence[str] = ("text",)
    base: str = ""
    """Of a LoRA adapter: the pool whose workers serve it. Clients name an adapter as they name a model."""

    @property
    def ready(self) -> bool:
        return any(worker.state == "ready" for worker in self.workers)


class _Pools(msgspec.Struct):
    pools: list[PoolView]


class Router:
    """One router and its pools."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.origin = Origin(url)
        self.pools: dict[str, PoolView] = {}
        self.reachable = False
        self.seed = xxh3_64_intdigest(url.encode())

    async def look(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Ask for the pools; what was known stays if there is no answer."""
        try:
            answer = await fetch(self.origin, "GET", "/pools", headers=headers)
            if answer.status != 200:
                raise WireError(f"/pools answers {answer.status}")
            pools = msgspec.json.decode(answer.body, type=_Pools).pools
        except (WireError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            if self.reachable:
                log.warning("router lost", extra={"router": self.origin.name, "error": str(error)})
            self.reachable = False
            return
        if not self.reachable:
            log.info("router found", extra={"router": self.origin.name, "pools": [pool.name for pool in pools]})
        self.reachable = True
        self.pools = {pool.name: pool for pool in pools}


class Fleet:
    """All routers."""

    def __init__(self, urls: list[str], secret: HopSecret, resolve: Resolve | None = None) -> None:
        self.routers = [Router(url) for url in urls]
        self._addresses = Addresses(urls, resolve)
        self._leaving: list[Router] = []
        """Their address is gone, but something may still run over their connections."""
        self._headers = [(contract.SECRET, secret.current)] if secret.required else []
        self._pools: dict[str, PoolView] = {}
        self._turn = 0
        self._known = False
        """Whether any router ever told its pools: before that, "no such model" would be a guess."""

    async def start(self) -> None:
        await self._look()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            await self._look()
            now = time.monotonic()
            for router in (*self.routers, *self._leaving):
                router.origin.close_idle(now)
            self._leaving = [router for router in self._leaving if router.origin.open]

    def close(self) -> None:
        for router in (*self.routers, *self._leaving):
            router.origin.close()

    @property
    def reachable(self) -> bool:
        return any(router.reachable for router in self.routers)

    def pool(self, name: str) -> PoolView | None:
        """The pool, or the adapter, of this name."""
        return self._pools.get(name)

    def pools(self) -> list[PoolView]:
        """Without adapters, which each pool names itself."""
        return sorted((pool for pool in self._pools.values() if not pool.base), key=lambda pool: pool.name)

    def names(self) -> set[str]:
        """Of the pools and their adapters."""
        return set(self._pools)

    def order(self, pool: str, prefix: bytes) -> list[Router]:
        """The routers, best first: rendezvous hashing, so that the same beginning meets the same cache knowledge.

        Loads are bounded (Mirrokni et al., 2018): a router with too many of our requests comes last, so that one
        popular beginning does not overload it. A prompt too short to have a prefix can go to any of them.
        """
        if len(self.routers) == 1:
            return self.routers
        self._turn += 1
        key = pool.encode() + prefix[:16] if prefix else b"%d" % self._turn
        routers = [router for router in self.routers if router.reachable] or self.routers
        ranked = sorted(routers, key=lambda router: xxh3_64_intdigest(key, router.seed), reverse=True)
        bound = max(_SLACK, _BOUND * (sum(router.origin.busy for router in routers) + 1) / len(routers))
        return sorted(ranked, key=lambda router: router.origin.busy >= bound)

    async def _look(self) -> None:
        self._follow(await self._addresses.look())
        await asyncio.gather(*(router.look(self._headers) for router in self.routers))
        merged: dict[str, PoolView] = {}
        for router in [router for router in self.routers if router.reachable] or self.routers:
            for name, pool in router.pools.items():
                if name not in merged or (pool.ready and not merged[name].ready):
                    merged[name] = pool
        self._pools = self._with_adapters(merged)
        self._known = self._known or self.reachable

    def _with_adapters(self, pools: dict[str, PoolView]) -> dict[str, PoolView]:
        """The pools and their adapters. Those of a pool without a ready worker stay: they are away as it is."""
        found = dict(pools)
        away = {name for name, pool in pools.items() if not pool.ready}
        known = [(pool.base, name) for name, pool in self._pools.items() if pool.base in away]
        for base, name in [(pool.name, adapter) for pool in pools.values() for adapter in pool.adapters] + known:
            found.setdefault(name, msgspec.structs.replace(pools[base], name=name, base=base, adapters=[]))
        return found

    def _follow(self, urls: list[str]) -> None:
        """A router whose address is gone gets nothing new and finishes what it has."""
        known = {router.url: router for router in self.routers}
        if known.keys() == set(urls):
            return
        back = {router.url: router for router in self._leaving}
        self.routers = [known.get(url) or back.get(url) or Router(url) for url in urls]
        gone = [router for url, router in (known | back).items() if url not in urls]
        log.info("routers", extra={"routers": urls, "gone": [router.url for router in gone]})
        self._leaving = gone

    def model(self, pool: PoolView) -> Model:
        """The pool as an entry of ``/v1/models``."""
        status = "ready" if pool.ready else "unavailable"
        if not pool.ready and any(worker.state in ("starting", "unknown") for worker in pool.workers):
            status = "loading"
        return Model(
            id=pool.name,
            created=_STARTED,
            headrace=Status(status, pool.wait_ms),
            context_length=pool.context or None,
            modality=pool.modality,
            architecture=Architecture(list(pool.inputs), [_OUTPUTS.get(pool.modality, pool.modality)]),
            parent=pool.base or None,
        )

    def demand(self) -> None:
        """Raises Overloaded while no router ever answered."""
        if not self._known:
            raise Overloaded("No router can be reached yet; try again.", code="no_router", retry_after=2)

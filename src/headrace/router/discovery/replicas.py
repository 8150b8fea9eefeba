"""How many routers there are: the addresses of their own headless Service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import dns.asyncresolver

from headrace.errors import ConnectError
from headrace.router.discovery.dns import INTERVAL, addresses_of

log = logging.getLogger(__name__)


class Replicas:
    """Counts again and again; ``changed`` is told each new number, at least 1."""

    def __init__(
        self,
        name: str,
        resolver: dns.asyncresolver.Resolver,
        changed: Callable[[int], None],
        *,
        interval: float = INTERVAL,
    ) -> None:
        self._name = name
        self._resolver = resolver
        self._changed = changed
        self._interval = interval
        self._known = 0

    async def run(self) -> None:
        while True:
            try:
                count = max(1, len(await addresses_of(self._resolver, self._name)))
            except ConnectError as error:
                log.warning("routers are not counted", extra={"service": self._name, "error": str(error)})
            else:
                if count != self._known:
                    self._known = count
                    self._changed(count)
            await asyncio.sleep(self._interval)

"""Keeps the budgets per day and month in step with the ledger, so that no restart forgets what was used."""

from __future__ import annotations

import asyncio
import logging

from headrace.api.ledger import Ledger
from headrace.errors import StoreError
from headrace.store.limits.limiter import LimiterService

_RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Budgets:
    """Restores them at the start, and whenever the limiter has lost them."""

    def __init__(self, limiter: LimiterService, ledger: Ledger) -> None:
        self._limiter = limiter
        self._ledger = ledger

    async def start(self, patience: float = 6.0) -> None:
        """Restore them before the first request, if the database answers within ``patience`` seconds."""
        try:
            async with asyncio.timeout(patience):
                await self.restore()
        except TimeoutError:
            _log.warning("budgets are not restored yet: the ledger's database does not answer")

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            if self._limiter.lost:
                await self.restore()

    async def restore(self) -> None:
        try:
            await self._limiter.restore(await self._ledger.spent())
        except StoreError as error:
            _log.info("budgets are not restored yet", extra={"reason": str(error)})

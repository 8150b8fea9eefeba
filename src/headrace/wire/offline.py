"""Exchanges without a connection: for requests that nobody waits for on the line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from headrace.wire.exchange import Exchange
from headrace.wire.handoff import Handoff
from headrace.wire.message import Request
from headrace.wire.recording import Recording


class _Nobody:
    """In place of the connection and its server: takes everything at once and is never gone."""

    keep_alive = True
    http11 = True
    writable = True
    date_line = b""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.handoff: Handoff[Any] = Handoff(self.loop)
        self.server = self
        self.cut_off = False

    def write(self, data: bytes) -> None:
        """As a transport."""

    def first(self, call: Callable[[], None]) -> None:
        """There is nothing that it could come before."""
        call()

    async def drain(self) -> None:
        """Nothing waits."""

    def answered(self) -> None:
        """There is no next request."""

    def cut(self) -> None:
        self.cut_off = True


def offline(request: Request, limit: int) -> tuple[Exchange, Recording]:
    """An exchange for ``request``, and what records its answer, up to ``limit`` bytes."""
    nobody: Any = _Nobody()
    exchange = Exchange(request, cast(Any, nobody), nobody)
    recording = Recording(limit)
    exchange.record(recording)
    return exchange, recording

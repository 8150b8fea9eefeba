"""What leaves for the network, in the moment in which it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from headrace.wire.outbox import Outbox, Outlet


class _Watched:
    """A transport."""

    def __init__(self, transport: asyncio.WriteTransport, leaving: Callable[[bytes], None]) -> None:
        self.is_closing = transport.is_closing
        self._transport = transport
        self._leaving = leaving

    def write(self, data: bytes) -> None:
        self._leaving(data)
        self._transport.write(data)


def watch(monkeypatch: pytest.MonkeyPatch, leaving: Callable[[bytes], None]) -> None:
    """Call ``leaving`` right before bytes are handed to the transport of a connection that is opened from here on."""
    original = Outlet.__init__

    def outlet(self: Outlet, outbox: Outbox, transport: asyncio.WriteTransport) -> None:
        original(self, outbox, cast(Any, _Watched(transport, leaving)))

    monkeypatch.setattr(Outlet, "__init__", outlet)

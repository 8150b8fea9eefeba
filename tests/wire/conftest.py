"""A real server on a free port, and clients and upstreams that speak bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
import uvloop

from headrace.wire.limits import ServerLimits
from headrace.wire.routes import Handler, Routes
from tests.wire.peer import Peer, Served, Upstream, listen

Serve = Callable[..., Awaitable[Served]]
Dial = Callable[[Served], Awaitable[Peer]]
Upstreams = Callable[..., Awaitable[Upstream]]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the services run on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server with one handler for every path, or with ``routes``."""
    running: list[Served] = []

    async def start(handler: Handler | None = None, *, routes: Routes | None = None, **limits: float) -> Served:
        served = Served(routes or Routes(fallback=handler), ServerLimits(**limits))  # type: ignore[arg-type]
        await served.server.start(listen(served))
        running.append(served)
        return served

    yield start
    for served in running:
        await served.server.close()


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Connect a client to a server."""
    peers: list[Peer] = []

    async def connect(served: Served) -> Peer:
        peer = await Peer.connect(served.address)
        peers.append(peer)
        return peer

    yield connect
    for peer in peers:
        peer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstreams]:
    """Start an upstream that runs a script on each connection."""
    running: list[Upstream] = []

    async def start(*scripts: Callable[[Peer], Awaitable[None]]) -> Upstream:
        one = Upstream(*scripts)
        await one.start()
        running.append(one)
        return one

    yield start
    for one in running:
        await one.close()

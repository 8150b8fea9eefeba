"""A service that serves inside the test, and its clients."""

from __future__ import annotations

import socket
from typing import Generic, TypeVar

from headrace.service import Service
from headrace.wire.server import Server
from tests.wire.peer import Address, Peer

S = TypeVar("S", bound=Service)


class Running(Generic[S]):
    """``service`` on a free port, without the process around it."""

    def __init__(self, service: S) -> None:
        self.service = service
        self.server = Server(service.routes, service.limits)
        self.address: Address = ("", 0)
        self._peers: list[Peer] = []

    async def start(self) -> None:
        await self.service.start()
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        self.address = listener.getsockname()
        await self.server.start(listener)

    async def close(self) -> None:
        for peer in self._peers:
            peer.close()
        await self.server.close()
        await self.service.close()

    async def dial(self) -> Peer:
        """A new client."""
        peer = await Peer.connect(self.address)
        self._peers.append(peer)
        return peer

"""What the runner needs to know of a service."""

from __future__ import annotations

from typing import Protocol

from headrace.telemetry.metrics import Registry
from headrace.wire.limits import ServerLimits
from headrace.wire.routes import Routes


class Service(Protocol):
    """llm-api, the router or a worker: everything but its ports and its process."""

    name: str
    routes: Routes
    """Of the traffic port."""
    registry: Registry

    @property
    def limits(self) -> ServerLimits: ...

    async def start(self) -> None:
        """Load what is needed. The traffic port opens when this returns."""

    def unready(self) -> str | None:
        """Why no traffic should come; None if it may."""

    def load(self) -> bytes | None:
        """The worker's ``GET /load`` (JSON); None for services that are not workers."""

    def debug(self, path: str) -> bytes | None:
        """JSON for ``GET /debug/<path>``; None if there is no such page."""

    async def drain(self) -> None:
        """Take nothing new. Requests that run are finished by the server."""

    async def close(self) -> None:
        """Free everything."""

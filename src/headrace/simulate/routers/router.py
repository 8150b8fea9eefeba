"""What every router in the simulator is."""

from __future__ import annotations

from typing import Protocol

from headrace.simulate.engine import Engine
from headrace.simulate.request import Request


class Router(Protocol):
    in_flight: int
    """Requests that came and are not over."""

    def arrive(self, request: Request) -> None:
        """A request came. It is over when it is ``finished`` or has ``failed``, of which ``over`` is told."""

    def crashed(self, engine: Engine) -> None:
        """Called before the engine's requests are lost."""

    def restarted(self, engine: Engine) -> None: ...

"""The ops port: is it alive, is it ready, how is it doing, drain it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from headrace.errors import Forbidden, NotFound
from headrace.service.secret import HopSecret, is_local
from headrace.telemetry.exposition import Page
from headrace.wire import contract
from headrace.wire.exchange import Exchange
from headrace.wire.routes import Routes

JSON = [(b"content-type", b"application/json")]
_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]


class OpsView(Protocol):
    """What the ops port shows: one process's own state, or that of several processes merged."""

    async def unready(self) -> str | None: ...

    async def metrics(self, accept: str) -> Page:
        """``accept``: the scraper's header."""

    async def load(self) -> bytes | None: ...

    async def debug(self, path: str) -> bytes | None: ...


def ops_routes(view: OpsView, secret: HopSecret, drain: Callable[[], None]) -> Routes:
    """The routes of the ops port. ``drain`` begins the end of the service and returns at once."""
    routes = Routes()

    async def livez(exchange: Exchange) -> None:
        exchange.respond(200, _TEXT, b"ok\n")

    async def readyz(exchange: Exchange) -> None:
        reason = await view.unready()
        exchange.respond(503 if reason else 200, _TEXT, f"{reason or 'ok'}\n".encode())

    async def metrics(exchange: Exchange) -> None:
        page = await view.metrics(exchange.request.headers.get(b"accept", b"").decode("latin-1"))
        exchange.respond(200, [(b"content-type", page.content_type.encode())], page.body)

    async def load(exchange: Exchange) -> None:
        document = await view.load()
        if document is None:
            raise NotFound("Only workers have a load.")
        exchange.respond(200, JSON, document)

    async def start_drain(exchange: Exchange) -> None:
        _demand_privilege(exchange, secret)
        drain()
        exchange.respond(202, JSON, msgspec.json.encode({"draining": True}))

    async def debug(exchange: Exchange) -> None:
        _demand_privilege(exchange, secret)
        document = await view.debug(exchange.request.path.removeprefix("/debug/"))
        if document is None:
            raise NotFound("There is no such debug page.")
        exchange.respond(200, JSON, document)

    routes.add("GET", "/livez", livez)
    routes.add("GET", "/readyz", readyz)
    routes.add("GET", "/metrics", metrics)
    routes.add("GET", "/load", load)
    routes.add("POST", "/drain", start_drain)
    routes.add("GET", "/debug/", debug)
    return routes


def _demand_privilege(exchange: Exchange, secret: HopSecret) -> None:
    """Draining and looking inside need the hop secret, or to be on the same machine."""
    request = exchange.request
    if not is_local(request.peer) and not secret.accepts(request.headers.get(contract.SECRET, b"")):
        raise Forbidden("This needs the hop secret, or a request from this machine.")

"""The one-time link that opens the page signed in, so that nobody has to paste a key in the first minute.

The token stands in the link's fragment, which no browser sends to a server; the page exchanges it here for a key of its
own. Caddy passes the exchange on only for clients on this machine.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec

from headrace.config import ApiSettings
from headrace.errors import ApiError, Forbidden, InvalidRequest
from headrace.store.keys import ADMIN, INFERENCE, KeyStore
from headrace.wire.exchange import Exchange
from headrace.wire.limits import ServerLimits
from headrace.wire.routes import Routes
from headrace.wire.server import Server

PATH = "/sign-in"
LASTS = 15 * 60.0
"""Seconds in which a link can be used."""
_KEY_LASTS = 7 * 86400.0
_JSON = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))

log = logging.getLogger(__name__)


class _Question(msgspec.Struct):
    token: str


class SignIn:
    """Gives out one link, and one key for it. ``mint`` makes the key; it may block."""

    def __init__(self, mint: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._mint = mint
        self._clock = clock
        self._token = ""
        self._until = 0.0

    def link(self, page: str) -> str:
        """A fresh link to the page at this address; the one before is worth nothing from now on."""
        self._token = secrets.token_urlsafe(32)
        self._until = self._clock() + LASTS
        return f"{page}/#sign-in={self._token}"

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        """Answer on loopback. Raises OSError if another program listens there."""
        routes = Routes()
        routes.add("POST", PATH, self._answer)
        server = Server(routes, ServerLimits(body=1024))
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            await server.start(listener)
            yield
        finally:
            await server.close()
            listener.close()

    async def _answer(self, exchange: Exchange) -> None:
        try:
            key = await self._exchange(exchange.request.body)
        except ApiError as error:
            exchange.respond(error.status, error.headers(), error.body())
        else:
            exchange.respond(200, _JSON, msgspec.json.encode({"key": key}))

    async def _exchange(self, body: bytes) -> str:
        try:
            given = msgspec.json.decode(body, type=_Question).token
        except msgspec.MsgspecError:
            raise InvalidRequest("The body must be a token.") from None
        wanted, self._token = self._token, ""  # a second try, also with a wrong token, needs a new link
        if not wanted or self._clock() > self._until or not hmac.compare_digest(wanted.encode(), given.encode()):
            raise Forbidden("This sign-in link was used already or is too old.")
        return await asyncio.to_thread(self._mint)


def mint(api: ApiSettings, home: Path) -> str:
    """A key for a browser on this machine: an administrator's, for a week."""
    with closing(KeyStore.open(home, database=api.database, pepper=api.pepper)) as store:
        tenants = store.tenants()
        tenant = next((tenant for tenant in tenants if tenant.name == "default"), tenants[0])
        expires_at = time.time() + _KEY_LASTS
        _, text = store.create(
            tenant.id, "sign-in link", scopes=(INFERENCE, ADMIN), expires_at=expires_at, actor="system"
        )
    return text

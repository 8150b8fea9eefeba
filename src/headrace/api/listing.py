"""``GET /v1/models`` and ``/v1/models/{id}``: what the key may use."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from headrace.api.access import request_id
from headrace.api.fleet import Fleet
from headrace.api.keys import Keyring
from headrace.api.record import Record
from headrace.errors import NotFound
from headrace.openai.models import ModelList
from headrace.service.ops import JSON
from headrace.store.snapshot import Principal
from headrace.wire.exchange import Exchange

PREFIX = "/v1/models/"


class Listing:
    def __init__(self, keys: Keyring, fleet: Fleet) -> None:
        self._keys = keys
        self._fleet = fleet

    async def all(self, exchange: Exchange, record: Record) -> None:
        principal = await self._enter(exchange, record)
        models = [self._fleet.model(pool) for pool in self._fleet.pools() if principal.allows(pool.name)]
        exchange.respond(200, [*JSON, request_id(record)], msgspec.json.encode(ModelList(models)))

    async def one(self, exchange: Exchange, record: Record) -> None:
        principal = await self._enter(exchange, record)
        name = unquote(exchange.request.path.removeprefix(PREFIX))
        pool = self._fleet.pool(name)
        if pool is None or not principal.allows(name):
            raise no_such_model(name, self._fleet, principal)
        exchange.respond(200, [*JSON, request_id(record)], msgspec.json.encode(self._fleet.model(pool)))

    async def _enter(self, exchange: Exchange, record: Record) -> Principal:
        principal = await self._keys.authenticate(exchange.request.headers)
        record.tenant, record.key = principal.tenant, principal.key_id
        self._fleet.demand()
        return principal


def no_such_model(name: str, fleet: Fleet, principal: Principal) -> NotFound:
    """The error that names what there is instead."""
    names = [pool.name for pool in fleet.pools() if principal.allows(pool.name)]
    known = ", ".join(names) or "none"
    return NotFound(
        f"The model {name[:200]!r} does not exist or your key may not use it. Models for you: {known}.",
        param="model",
        code="model_not_found",
    )

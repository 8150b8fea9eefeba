"""``GET /v1/models`` and ``/v1/models/{id}``: what the key may use."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from headrace.api.access import request_id
from headrace.api.fleet import Fleet
from headrace.api.keys import Keyring
from headrace.api.models import Models
from headrace.api.record import Record
from headrace.openai.models import ModelList
from headrace.service.ops import JSON
from headrace.store.snapshot import Principal
from headrace.wire.exchange import Exchange

PREFIX = "/v1/models/"


class Listing:
    def __init__(self, keys: Keyring, fleet: Fleet, models: Models) -> None:
        self._keys = keys
        self._fleet = fleet
        self._models = models

    async def all(self, exchange: Exchange, record: Record) -> None:
        principal = await self._enter(exchange, record)
        models = self._models.visible(principal)
        exchange.respond(200, [*JSON, request_id(record)], msgspec.json.encode(ModelList(models)))

    async def one(self, exchange: Exchange, record: Record) -> None:
        principal = await self._enter(exchange, record)
        name = unquote(exchange.request.path.removeprefix(PREFIX))
        model = self._models.model(name, principal)
        if model is None:
            raise self._models.unknown(name, principal)
        exchange.respond(200, [*JSON, request_id(record)], msgspec.json.encode(model))

    async def _enter(self, exchange: Exchange, record: Record) -> Principal:
        principal = await self._keys.authenticate(exchange.request.headers)
        record.tenant, record.key = principal.tenant, principal.key_id
        self._fleet.demand()
        return principal

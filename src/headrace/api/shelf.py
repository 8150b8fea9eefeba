"""Responses that clients can come back to: stored, continued, shown and deleted.

A response is written down behind its request's back. Until that is done it is found here, so that a client can go on
with it at once; another replica sees it a moment later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from headrace.api.access import request_id
from headrace.api.dialects.responses import ResponsesRequest
from headrace.api.keys import Keyring
from headrace.api.metrics import ApiMetrics
from headrace.api.record import Record
from headrace.errors import InvalidRequest, NotFound, Overloaded, StoreError
from headrace.openai.request import Request
from headrace.service.ops import JSON
from headrace.store.objects.responses import ResponseStore, StoredResponse
from headrace.store.snapshot import Principal
from headrace.wire.exchange import Exchange

PREFIX = "/v1/responses/"

_LARGEST = 16 * 1024 * 1024
"""Bytes of a conversation that is stored."""
_WAITING = 64 * 1024 * 1024
"""Bytes that may wait for the database; then the oldest are given up, and counted."""
_BATCH = 100
_PATIENCE = 1.0
_EXPIRE_SECONDS = 3600.0

log = logging.getLogger(__name__)

T = TypeVar("T")


class Shelf:
    """All stored responses, as far as this process knows them."""

    def __init__(self, store: ResponseStore | None, keys: Keyring, metrics: ApiMetrics) -> None:
        """``store``: None where nothing is stored."""
        self._store = store
        self._keys = keys
        self._dropped = metrics.responses_dropped
        self._waiting: dict[str, StoredResponse] = {}
        self._size = 0
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        """Held while the database is written to: what is deleted meanwhile must not come back."""
        self._expired = time.monotonic()

    async def recall(self, request: Request[Any], principal: Principal) -> None:
        """Put the conversation in front of a request that goes on with one. Raises ApiError where there is no such."""
        if not isinstance(request, ResponsesRequest):
            return
        if self._store is None:
            _refuse_memory(request)
        elif request.previous is not None:
            found = await self._find(principal.tenant, request.previous, param="previous_response_id")
            request.resume(msgspec.json.decode(found.messages))

    def keep(self, request: Request[Any], principal: Principal) -> None:
        """Store the response that has just been sent, unless its client asked not to."""
        if self._store is None or not isinstance(request, ResponsesRequest) or not request.wants_store:
            return
        kept = request.to_store(principal.tenant)
        if kept is None:
            return
        size = _size(kept)
        if size > _LARGEST:
            self._dropped.inc()
            return
        self._waiting[kept.id] = kept
        self._size += size
        while self._size > _WAITING:
            self._forget(next(iter(self._waiting)))
            self._dropped.inc()
        self._wake.set()

    async def run(self) -> None:
        """Write down what waits, until cancelled."""
        while self._store is not None:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._write(self._store)

    async def close(self) -> None:
        """Write down what still waits, if the database answers."""
        if self._store is not None and self._waiting:
            try:
                await asyncio.to_thread(self._store.add, list(self._waiting.values()))
            except StoreError as error:
                log.warning("responses are lost", extra={"responses": len(self._waiting), "reason": str(error)})

    # ---- endpoints ----

    async def show(self, exchange: Exchange, record: Record) -> None:
        """``GET /v1/responses/{id}`` and ``/v1/responses/{id}/input_items``."""
        principal = await self._enter(exchange, record)
        response_id, _, rest = exchange.request.path.removeprefix(PREFIX).partition("/")
        if rest not in {"", "input_items"}:
            raise NotFound(f"There is no {exchange.request.path[:200]} here.", code="unknown_path")
        found = await self._find(principal.tenant, response_id, param="response_id")
        body = found.document if not rest else _page(found.items)
        exchange.respond(200, [*JSON, request_id(record)], body)

    async def delete(self, exchange: Exchange, record: Record) -> None:
        """``DELETE /v1/responses/{id}``."""
        principal = await self._enter(exchange, record)
        response_id = exchange.request.path.removeprefix(PREFIX)
        waiting = self._waiting.get(response_id)
        there = waiting is not None and waiting.tenant == principal.tenant
        if there:
            self._forget(response_id)
        if self._store is not None:
            store = self._store
            async with self._writing:
                there = await _in_thread(lambda: store.delete(principal.tenant, response_id)) or there
        if not there:
            raise _unknown(response_id, "response_id")
        body = msgspec.json.encode({"id": response_id, "object": "response", "deleted": True})
        exchange.respond(200, [*JSON, request_id(record)], body)

    # ---- inside ----

    async def _enter(self, exchange: Exchange, record: Record) -> Principal:
        principal = await self._keys.authenticate(exchange.request.headers)
        record.tenant, record.key = principal.tenant, principal.key_id
        return principal

    async def _find(self, tenant: str, response_id: str, param: str) -> StoredResponse:
        found = self._waiting.get(response_id)
        store = self._store
        if found is None and store is not None:
            found = await _in_thread(lambda: store.get(tenant, response_id))
        if found is None or found.tenant != tenant:
            raise _unknown(response_id, param)
        return found

    async def _write(self, store: ResponseStore) -> None:
        try:
            async with self._writing:
                responses = list(self._waiting.values())[:_BATCH]
                await asyncio.to_thread(store.add, responses)
            if time.monotonic() > self._expired + _EXPIRE_SECONDS:
                self._expired = time.monotonic()
                await asyncio.to_thread(store.expire)
        except StoreError as error:
            log.warning("responses wait for the database", extra={"reason": str(error)})
            await asyncio.sleep(_PATIENCE)
            return
        for one in responses:
            self._forget(one.id)

    def _forget(self, response_id: str) -> None:
        kept = self._waiting.pop(response_id, None)
        if kept is not None:
            self._size -= _size(kept)


def _size(kept: StoredResponse) -> int:
    return len(kept.document) + len(kept.items) + len(kept.messages)


def _page(items: bytes) -> bytes:
    found: list[dict[str, Any]] = msgspec.json.decode(items)
    found.reverse()  # the newest first, as OpenAI's default is
    ids = [item["id"] for item in found]
    page = {"object": "list", "data": found, "first_id": ids[0], "last_id": ids[-1], "has_more": False}
    return msgspec.json.encode(page)


def _refuse_memory(request: ResponsesRequest) -> None:
    if request.previous is not None:
        raise InvalidRequest(
            "previous_response_id: responses are not stored here; send the whole conversation as input.",
            param="previous_response_id",
        )
    if request.wants_store and request.asked_to_store:
        raise InvalidRequest("store: responses are not stored here; send false or leave it out.", param="store")
    request.forget()


def _unknown(response_id: str, param: str) -> NotFound:
    return NotFound(
        f"There is no response {response_id[:100]!r}: it was never stored, was deleted, or has expired.",
        param=param,
        code="response_not_found",
    )


async def _in_thread(job: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(job)
    except StoreError:
        raise Overloaded(
            "Stored responses cannot be reached right now; try again.", code="store_unavailable", retry_after=2
        ) from None

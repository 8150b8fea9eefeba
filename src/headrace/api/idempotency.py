"""``Idempotency-Key``: a request that is sent again is answered again, and worked on and billed only once.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
Only answers that are complete and a success are kept, streams too; after anything else the key is free again.
An answer is kept before its last byte leaves, so that only a request whose client saw no end may run a second time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
from msgspec import Struct
from xxhash import xxh3_128_digest

from headrace.api.access import request_id
from headrace.api.record import Record
from headrace.errors import Conflict, InvalidRequest, Overloaded, StoreError, UnprocessableRequest
from headrace.store.keep.keep import Keep
from headrace.store.snapshot import Principal
from headrace.wire.exchange import Exchange
from headrace.wire.recording import Recorded, Recording

HEADER = b"idempotency-key"
REPLAYED = (b"idempotent-replayed", b"true")

_MAX_KEY = 255
_LEASE = 30.0
"""Seconds after which a claim is free again whose process died."""
_KEPT_BYTES = 1024 * 1024
"""The largest answer that is kept."""

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]


class _Entry(Struct, array_like=True):
    fingerprint: bytes
    answer: Recorded | None = None
    """None while the first request runs."""


class Idempotency:
    """Runs a request at most once for each key, as far as the ``Keep`` reaches."""

    def __init__(self, keep: Keep, seconds: float) -> None:
        """``seconds``: for how long an answer is kept."""
        self._keep = keep
        self._seconds = seconds
        self._decode = msgspec.msgpack.Decoder(_Entry).decode

    async def run(self, key: bytes, exchange: Exchange, record: Record, principal: Principal, work: Work) -> None:
        """Do ``work``, which answers the exchange, or answer as it did before.

        Raises InvalidRequest for a bad key, Conflict while the first request runs, UnprocessableRequest for another
        body under the same key, and Overloaded where nobody can tell.
        """
        if not (0 < len(key) <= _MAX_KEY and key.isascii()):
            raise InvalidRequest(f"Idempotency-Key: must have 1 to {_MAX_KEY} ASCII characters.", code="bad_header")
        request = exchange.request
        fingerprint = xxh3_128_digest(b"%b\0%b" % (request.path.encode(), request.body))
        name = f"idem:{principal.key_id}:{xxh3_128_digest(key).hex()}"
        entry = await self._claim(name, fingerprint)
        if entry is None:
            await self._first(name, fingerprint, exchange, record, work)
        else:
            _again(entry, fingerprint, exchange, record)

    async def _claim(self, name: str, fingerprint: bytes) -> _Entry | None:
        """What is there; None if the key is ours now."""
        try:
            found = await self._keep.claim(name, msgspec.msgpack.encode(_Entry(fingerprint)), _LEASE)
        except StoreError as error:
            log.warning("an Idempotency-Key cannot be looked up", extra={"reason": str(error)})
            raise Overloaded(
                "Whether this request ran already cannot be told right now; try again, or leave Idempotency-Key out.",
                code="idempotency_unavailable",
                retry_after=2,
            ) from None
        return None if found is None else self._decode(found)

    async def _first(self, name: str, fingerprint: bytes, exchange: Exchange, record: Record, work: Work) -> None:
        recording = Recording(_KEPT_BYTES)
        exchange.record(recording, hold=True)  # who has the whole answer must not be billed for it a second time
        renewing = asyncio.create_task(self._renew(name))
        kept = False
        try:
            await work()
            if exchange.status == 200 and not record.reason:
                kept = await self._put(name, fingerprint, recording)
        finally:
            renewing.cancel()
            exchange.release()
            if not kept:
                with suppress(StoreError):
                    await self._keep.drop(name)

    async def _put(self, name: str, fingerprint: bytes, recording: Recording) -> bool:
        answer = recording.answer()
        if answer is None:
            return False
        try:
            await self._keep.put(name, msgspec.msgpack.encode(_Entry(fingerprint, answer)), self._seconds)
        except StoreError as error:
            log.warning("an answer is not kept for its Idempotency-Key", extra={"reason": str(error)})
            return False
        return True

    async def _renew(self, name: str) -> None:
        while True:
            await asyncio.sleep(_LEASE / 3)
            with suppress(StoreError):
                await self._keep.extend(name, _LEASE)


def _again(entry: _Entry, fingerprint: bytes, exchange: Exchange, record: Record) -> None:
    if entry.fingerprint != fingerprint:
        raise UnprocessableRequest(
            "Idempotency-Key: was used for another request; use a new one for each.", code="idempotency_key_reused"
        )
    if entry.answer is None:
        raise Conflict(
            "The first request with this Idempotency-Key is still running; try again later.",
            code="idempotency_in_progress",
            retry_after=1,
        )
    record.replayed = True
    entry.answer.replay(exchange, request_id(record, exchange.dialect), REPLAYED)

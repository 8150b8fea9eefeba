"""Exact answers again: for tenants that want it, a request that was answered a moment ago is answered from memory."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from xxhash import xxh3_128_hexdigest

from headrace.api.access import request_id
from headrace.api.record import Record
from headrace.errors import StoreError
from headrace.store.keep.keep import Keep
from headrace.wire.exchange import Exchange
from headrace.wire.recording import Recorded, Recording

HIT = (b"x-headrace-cache", b"exact")

_KEPT_BYTES = 1024 * 1024

log = logging.getLogger(__name__)


class AnswerCache:
    """Complete answers by tenant, path and body. A tenant only ever sees its own."""

    def __init__(self, keep: Keep, seconds: Mapping[str, float]) -> None:
        """``seconds``: for how long, by tenant; those that are not named have no cache."""
        self._keep = keep
        self._seconds = seconds
        self._decode = msgspec.msgpack.Decoder(Recorded).decode

    def wanted(self, exchange: Exchange, record: Record) -> bool:
        """Whether to look. A client that says ``Cache-Control: no-cache`` or ``no-store`` is obeyed."""
        if record.tenant not in self._seconds:
            return False
        control = exchange.request.headers.get(b"cache-control", b"").lower()
        return b"no-cache" not in control and b"no-store" not in control

    async def run(self, exchange: Exchange, record: Record, body: bytes, work: Callable[[], Awaitable[None]]) -> None:
        """Answer from the cache, or do ``work``, which answers the exchange, and keep the answer.

        ``body`` is the worker's, which an alias or an earlier response may have changed. The client's own counts beside
        it: some of what it asks for never reaches a worker (the usage of a stream, a response's metadata).
        """
        digest = xxh3_128_hexdigest(b"%b\0%b\0%b" % (record.path.encode(), body, exchange.request.body))
        name = f"cache:{record.tenant}:{digest}"
        try:
            found = await self._keep.get(name)
        except StoreError:
            found = None  # an answer that cannot be looked up is made
        if found is not None:
            record.replayed = True
            self._decode(found).replay(exchange, request_id(record, exchange.dialect), HIT)
            return
        recording = Recording(_KEPT_BYTES)
        exchange.record(recording)
        await work()
        if exchange.status == 200 and not record.reason:
            await self._put(name, record, recording)

    async def _put(self, name: str, record: Record, recording: Recording) -> None:
        answer = recording.answer()
        if answer is None:
            return
        try:
            await self._keep.put(name, msgspec.msgpack.encode(answer), self._seconds[record.tenant])
        except StoreError as error:
            log.debug("an answer is not cached", extra={"reason": str(error)})

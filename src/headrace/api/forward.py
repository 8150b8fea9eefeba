"""Sends a request to a router and brings the answer back."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from headrace.api.access import request_id
from headrace.api.bill import Bill
from headrace.api.fleet import Fleet, Router
from headrace.api.length import CODE as TOO_LONG
from headrace.api.length import worker_refusal
from headrace.api.meter import StreamMeter
from headrace.api.record import Record, milliseconds
from headrace.errors import (
    ApiError,
    BadGateway,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    Overloaded,
    ProtocolError,
    UpstreamTimeout,
    WireError,
)
from headrace.openai import usage
from headrace.openai.translator import Translator
from headrace.openai.usage import Usage
from headrace.wire import contract
from headrace.wire.dialect import Dialect
from headrace.wire.exchange import EVENT_STREAM, Exchange
from headrace.wire.relay import Relay, RelayWatch, content_type
from headrace.wire.response import Answer, ResponseHead
from headrace.wire.upstream import Connection

_HEARTBEAT_SECONDS = 15.0
_GRACE_SECONDS = 5.0
"""The router refuses at the deadline; only if it does not, we do."""


class Shipment(Struct, eq=False):
    """A request as the routers get it."""

    pool: str
    prefix: bytes
    head: bytes
    """The header lines, without the one of the router's host."""
    body: bytes
    wants_usage: bool
    translator: Translator | None
    admin: bool
    """Show which worker answered."""
    bill: Bill
    timeout: float
    """Seconds until the first event at most."""
    spare: bool = False
    """Another model can take the request if this one cannot."""
    refused: str = ""
    """Where there is a spare: why this model did not answer. The client was told nothing then."""
    usage: Usage | None = None
    """What the answer told; set also where the client left before its end."""
    events: int = 0
    """Events of the stream that went by."""


_PASSED_OVER = frozenset({500, 502, 503, 504})
"""Answers after which a spare model is tried."""
_OWN_FAULT = frozenset({"request_crashes_worker"})
"""Not these: what two workers died of must not get at a third."""


class Forwarder:
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.watch = RelayWatch(_HEARTBEAT_SECONDS)

    async def send(self, exchange: Exchange, shipment: Shipment, record: Record) -> None:
        """Answer the client, and close the bill before the last byte. Raises ApiError, also in the middle.

        Where there is a spare and this model fails, ``shipment.refused`` says so, and the client was told nothing.
        """
        error: WireError | None = None
        for router in self._fleet.order(shipment.pool, shipment.prefix):
            try:
                await self._through(router, exchange, shipment, record)
                return
            except WireError as lost:
                error = lost
                if exchange.started or isinstance(lost, UpstreamTimeout):
                    break
        if exchange.started:
            raise BadGateway("The answer broke off in the middle; send the request again.", code="stream_lost")
        failure = _failure(error, shipment.timeout)
        if not shipment.spare:
            raise failure
        shipment.refused = failure.code or "error"

    async def _through(self, router: Router, exchange: Exchange, shipment: Shipment, record: Record) -> None:
        meter = StreamMeter(shipment.wants_usage)

        def start(head: ResponseHead) -> list[tuple[bytes, bytes]]:
            record.ttft_ms = milliseconds(time.monotonic() - exchange.request.received)
            kind = EVENT_STREAM if head.event_stream else (content_type(head),)
            return [*kind, *_headers(head, shipment, record, exchange.dialect)]

        def settle() -> None:
            """Close the bill: what is still to go to the client is the end of its answer."""
            if relay.stalled:
                record.client_stall_ms = milliseconds(relay.stalled)
            if meter.failed:
                record.reason, record.status = "worker_lost", 502
                shipment.bill.failed(record.status)
            else:
                shipment.bill.answered(exchange.status, meter.usage or usage.read_tail(relay.tail), meter.events)

        relay = Relay(
            exchange,
            start,
            meter.on_events if shipment.translator is None else _through_both(meter, shipment.translator),
            settle,
            time.monotonic() + shipment.timeout + _GRACE_SECONDS,
            whole=shipment.translator is not None,
        )
        self.watch.add(relay)
        try:
            connection = router.origin.take() or await _connect(router, record)
            request = b"%b%b\r\n%b" % (shipment.head, router.origin.host_line, shipment.body)
            try:
                answer = await relay.begin(connection, request)
            except ConnectionLost as lost:
                if not lost.stale:
                    raise
                answer = await relay.begin(await _connect(router, record), request)
        finally:
            relay.end()
            self.watch.discard(relay)
            shipment.usage, shipment.events = meter.usage, meter.events
            if relay.stalled:
                record.client_stall_ms = milliseconds(relay.stalled)
            if meter.failed:
                settle()  # also where the client left at the error that it was told
        if answer is not None:
            self._respond(exchange, shipment, record, answer)
        elif not exchange.finished:
            settle()
            exchange.finish()

    def _respond(self, exchange: Exchange, shipment: Shipment, record: Record, answer: Answer) -> None:
        head = answer.head
        headers = [content_type(head), *_headers(head, shipment, record, exchange.dialect)]
        body = answer.body
        if answer.status == 401:
            raise BadGateway(
                "The platform's own services do not accept each other; tell its administrator.", code="hop_refused"
            )
        if answer.status != 200:
            code = usage.error_code(body)
            if shipment.spare and answer.status in _PASSED_OVER and code not in _OWN_FAULT:
                shipment.refused = code
                return
            too_long = None if code == TOO_LONG else worker_refusal(answer.status, body)
            if too_long is not None:
                record.reason = too_long.code or code
                headers = [*too_long.headers(), *_headers(head, shipment, record, exchange.dialect)]
                shipment.bill.answered(too_long.status, None)
                exchange.respond(too_long.status, headers, exchange.dialect.error(too_long))
                return
            record.reason = code
            body = exchange.dialect.passed_error(answer.status, body)
            retry_after = head.header(b"retry-after")
            if retry_after:
                headers.append((b"retry-after", retry_after))
        elif shipment.translator is not None:
            body = shipment.translator.answer(body)
        found = usage.read(answer.body) if answer.status == 200 else None
        shipment.bill.answered(answer.status, None if found is None else found.usage)
        exchange.respond(answer.status, headers, body)


async def _connect(router: Router, record: Record) -> Connection:
    """A fresh connection. Raises ConnectError, also where it takes too long: another router may be quicker."""
    began = time.monotonic()
    try:
        return await router.origin.connect()
    except UpstreamTimeout as error:
        raise ConnectError(str(error)) from None
    finally:
        record.connect_ms += milliseconds(time.monotonic() - began)


def _failure(error: WireError | None, timeout: float) -> ApiError:
    """What a client is told of routers that brought no answer."""
    if isinstance(error, UpstreamTimeout):
        return DeadlineExceeded(f"No answer within {timeout:g} s.")
    if isinstance(error, ProtocolError):
        return BadGateway("The answer from inside the platform makes no sense; tell its administrator.")
    return Overloaded("No router can be reached; try again.", code="no_router", retry_after=2)


def _through_both(meter: StreamMeter, translator: Translator) -> Callable[[bytes], bytes]:
    """Metered as the worker wrote it, then translated."""
    return lambda events: translator.on_events(meter.on_events(events))


def _headers(head: ResponseHead, shipment: Shipment, record: Record, dialect: Dialect) -> list[tuple[bytes, bytes]]:
    """Our own headers; where the request went is for administrators only."""
    find = head.fields.get
    worker = find(contract.WORKER, b"")
    queued = find(contract.QUEUE, b"")
    attempts = find(contract.ATTEMPTS, b"")
    record.worker = worker.decode("latin-1")
    record.queue_ms = int(queued) if queued.isdigit() else 0
    record.attempts = int(attempts) if attempts.isdigit() else 0
    if shipment.admin and worker:
        return [
            request_id(record, dialect),
            (contract.WORKER, worker),
            (contract.QUEUE, queued),
            (contract.ATTEMPTS, attempts),
        ]
    return [request_id(record, dialect)]

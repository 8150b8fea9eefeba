"""What surrounds every request of the public API: an id, a log line, the metrics."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable

from headrace.api.clients import Clients, WrongKeys
from headrace.api.metrics import ApiMetrics
from headrace.api.record import AccessLog, Record, milliseconds
from headrace.api.spans import Spans
from headrace.errors import ApiError, Unauthorized
from headrace.telemetry.traces import Context
from headrace.wire import contract
from headrace.wire.dialect import OPENAI, Dialect
from headrace.wire.exchange import Exchange
from headrace.wire.relay import end_broken
from headrace.wire.routes import Handler

Endpoint = Callable[[Exchange, Record], Awaitable[None]]

CLIENT_CLOSED = 499
"""nginx's status for a client that went away before its answer."""
_ID_LENGTH = 200


class Access:
    """Makes handlers out of endpoints."""

    def __init__(self, log: AccessLog, metrics: ApiMetrics, clients: Clients, spans: Spans | None = None) -> None:
        """``spans``: None where no traces are wanted."""
        self._clients = clients
        self._wrong_keys = WrongKeys()
        self._log = log
        self._spans = spans
        self._metrics = metrics
        self._run = secrets.token_hex(6)
        self._count = 0

    def wrap(self, path: str, endpoint: Endpoint) -> Handler:
        """A handler that answers with ``endpoint``; ``path`` is the metrics' label."""
        in_flight = self._metrics.in_flight

        async def handler(exchange: Exchange) -> None:
            record = self._open(path, exchange)
            context = self._spans.begin(exchange, record) if self._spans is not None else None
            in_flight.value += 1
            try:
                await endpoint(exchange, record)
            except ApiError as raised:
                error: ApiError = raised
                if isinstance(raised, Unauthorized):
                    error = self._wrong_keys.judge(raised, record.client)
                record.reason = error.code or ""
                record.status = error.status
                if exchange.started:
                    end_broken(exchange, error)
                else:
                    dialect = exchange.dialect
                    exchange.respond(
                        error.status, [*error.headers(), request_id(record, dialect)], dialect.error(error)
                    )
            except asyncio.CancelledError:
                if not exchange.finished and not record.reason:
                    record.reason, record.status = "client_gone", CLIENT_CLOSED
                raise
            finally:
                in_flight.value -= 1
                self._close(exchange, record, context)

        return handler

    def _open(self, path: str, exchange: Exchange) -> Record:
        self._count += 1
        request = exchange.request
        record = Record(f"{self._run}{self._count:012x}", path, client=self._clients.address(request))
        client_id = request.headers.get(contract.REQUEST_ID)
        if client_id is not None:
            record.client_id = client_id[:_ID_LENGTH].decode("latin-1")
        return record

    def _close(self, exchange: Exchange, record: Record, context: Context | None) -> None:
        record.status = record.status or exchange.status or 500
        record.total_ms = milliseconds(time.monotonic() - exchange.request.received)
        self._metrics.finished(record, context.trace if context is not None and context.sampled else "")
        self._log.write(record)
        if self._spans is not None and context is not None:
            self._spans.end(context, exchange.request.method, record)


def request_id(record: Record, dialect: Dialect = OPENAI) -> tuple[bytes, bytes]:
    """The header that tells the client under which id we know its request."""
    return (dialect.id_header, record.id.encode())

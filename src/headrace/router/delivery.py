"""Takes a request to a worker and brings its answer back, if need be from another one."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.errors import (
    ApiError,
    BadGateway,
    ConnectError,
    ConnectionLost,
    CrashesWorker,
    DeadlineExceeded,
    NotFound,
    Overloaded,
    UpstreamTimeout,
    WireError,
)
from headrace.router.flow.queue import PoolQueue
from headrace.router.metrics import RouterMetrics
from headrace.router.ticket import Ticket
from headrace.router.worker import State, Worker
from headrace.service.secret import HopSecret
from headrace.wire import contract
from headrace.wire.client import Answer
from headrace.wire.exchange import EVENT_STREAM, Exchange
from headrace.wire.message import Request
from headrace.wire.relay import Relay, RelayWatch, end_broken
from headrace.wire.response import ResponseHead

log = logging.getLogger(__name__)

_FATAL_LOSSES = 2
"""Workers that may die under one request before it is held to be the cause."""

_PASSED_ON = (b"content-type", contract.TRACEPARENT)


@dataclass(slots=True)
class _Journey:
    """What became of one request so far."""

    ticket: Ticket
    queue: PoolQueue
    attempts: int = 0
    losses: int = 0
    tried: list[Worker] = field(default_factory=list)
    worker: Worker | None = None
    queued: float = 0.0
    """Seconds spent waiting for a slot."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What llm-api is told about it."""
        name = self.worker.name.encode() if self.worker is not None else b""
        return [
            (contract.WORKER, name),
            (contract.QUEUE, b"%d" % (self.queued * 1000)),
            (contract.ATTEMPTS, b"%d" % self.attempts),
        ]


class Delivery:
    """Every request of the traffic port goes through ``deliver``."""

    def __init__(
        self, pools: Mapping[str, PoolQueue], secret: HopSecret, metrics: RouterMetrics, attempts: int
    ) -> None:
        self._pools = pools
        self._secret = secret
        self._metrics = metrics
        self._attempts = attempts
        self.watch = RelayWatch()

    async def deliver(self, exchange: Exchange, ticket: Ticket) -> None:
        """Answer the request. Raises ApiError while nothing was sent to the client."""
        queue = self._pools.get(ticket.pool)
        if queue is None:
            raise NotFound(f"No pool is named {ticket.pool!r}.", code="model_not_found", param="model")
        journey = _Journey(ticket, queue)
        outcome = "cancelled"
        try:
            await self._travel(exchange, journey)
            outcome = "ok" if exchange.status < 400 else f"status_{exchange.status}"
        except ApiError as error:
            outcome = error.code or "error"
            if not exchange.started:
                raise
            self._metrics.broken.labels(ticket.pool).inc()
            end_broken(exchange, error)
        finally:
            self._metrics.requests.labels(ticket.pool, outcome).inc()

    async def _travel(self, exchange: Exchange, journey: _Journey) -> None:
        queue, ticket = journey.queue, journey.ticket
        while True:
            began = time.monotonic()
            worker = await queue.admit(ticket, journey.tried)
            waited = time.monotonic() - began
            journey.queued += waited
            self._metrics.queue_wait.labels(ticket.pool).observe(waited)
            journey.attempts += 1
            journey.worker = worker
            answered = False
            try:
                answer = await self._attempt(exchange, journey, worker)
                answered = True
            except WireError as error:
                self._after_loss(exchange, journey, worker, error)
                continue
            finally:
                queue.release(worker, ticket, finished=answered)
            if answer is None:
                exchange.finish()
                return
            if not self._try_elsewhere(answer, journey, worker):
                self._respond(exchange, journey, answer)
                return

    async def _attempt(self, exchange: Exchange, journey: _Journey, worker: Worker) -> Answer | None:
        request = exchange.request
        dispatched = time.monotonic()

        def start(head: ResponseHead) -> list[tuple[bytes, bytes]]:
            self._metrics.first_byte.labels(journey.ticket.pool).observe(time.monotonic() - dispatched)
            if head.event_stream:
                return [*EVENT_STREAM, *journey.headers()]
            return [(b"content-type", head.header(b"content-type")), *journey.headers()]

        relay = Relay(exchange, start, deadline=journey.ticket.deadline)
        self.watch.add(relay)
        try:
            return await self._send(relay, worker, self._head(request, worker, journey) + request.body)
        finally:
            self.watch.discard(relay)

    async def _send(self, relay: Relay, worker: Worker, data: bytes) -> Answer | None:
        """On an idle connection; if that turns out to have been closed meanwhile, on a fresh one."""
        connection = worker.origin.take()
        if connection is None or not connection.usable:
            connection = await worker.origin.connect()
        return await relay.run(connection, data)

    def _head(self, request: Request, worker: Worker, journey: _Journey) -> bytes:
        """The request line and headers for the worker: nothing of ours but the id, and the secret."""
        path = request.path.encode("latin-1")
        if request.query:
            path += b"?" + request.query
        lines = [b"%b %b HTTP/1.1\r\n" % (request.method.encode(), path), worker.origin.host_line]
        lines.extend(b"%b: %b\r\n" % (name, request.headers[name]) for name in _PASSED_ON if name in request.headers)
        request_id = journey.ticket.request_id
        if request_id:
            suffix = b"-%d" % (journey.attempts - 1) if journey.attempts > 1 else b""
            lines.append(b"%b: %b%b\r\n" % (contract.REQUEST_ID, request_id, suffix))
        if self._secret.required:
            lines.append(b"authorization: Bearer %b\r\n" % self._secret.current)
        lines.append(b"content-length: %d\r\n\r\n" % len(request.body))
        return b"".join(lines)

    def _after_loss(self, exchange: Exchange, journey: _Journey, worker: Worker, error: WireError) -> None:
        """Decide about a next attempt: return to make one, raise to end."""
        pool = journey.ticket.pool
        reason = type(error).__name__
        log.warning("attempt failed", extra={"worker": worker.name, "pool": pool, "error": str(error)})
        if isinstance(error, ConnectError):
            worker.state, worker.reason = State.DOWN, str(error)
            journey.queue.changed()
        if exchange.started:
            raise BadGateway("The worker broke off in mid-answer.", code="worker_lost")
        if isinstance(error, UpstreamTimeout) and time.monotonic() > journey.ticket.deadline:
            raise DeadlineExceeded(f"No answer from a worker of {pool} before the deadline.")
        if isinstance(error, ConnectionLost):
            journey.losses += 1
            if journey.losses >= _FATAL_LOSSES:
                self._metrics.poisoned.labels(pool).inc()
                raise CrashesWorker("Two workers were lost while they worked on this request.")
        if not isinstance(error, ConnectionLost) and journey.attempts >= self._attempts:
            raise Overloaded(f"No worker of {pool} could be reached.", code="no_worker", retry_after=5)
        journey.tried.append(worker)
        self._metrics.retries.labels(pool, reason).inc()

    def _try_elsewhere(self, answer: Answer, journey: _Journey, worker: Worker) -> bool:
        """A worker that is full or going away does not have the last word, if there is another one."""
        if answer.status != 503 or journey.attempts >= self._attempts:
            return False
        journey.tried.append(worker)
        if all(other in journey.tried for other in journey.queue.workers if other.state is State.READY):
            return False
        self._metrics.retries.labels(journey.ticket.pool, "refused").inc()
        return True

    def _respond(self, exchange: Exchange, journey: _Journey, answer: Answer) -> None:
        headers = [(b"content-type", answer.head.header(b"content-type") or b"application/json"), *journey.headers()]
        retry_after = answer.head.header(b"retry-after")
        if retry_after:
            headers.append((b"retry-after", retry_after))
        exchange.respond(answer.status, headers, answer.body)

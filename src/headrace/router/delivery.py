"""Takes a request to a worker and brings its answer back, if need be from another one."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from headrace.errors import (
    ApiError,
    BadGateway,
    ConnectError,
    ConnectionLost,
    CrashesWorker,
    DeadlineExceeded,
    NotFound,
    Overloaded,
    ProtocolError,
    UpstreamTimeout,
    WireError,
)
from headrace.openai import usage
from headrace.router.flow.queue import PoolQueue
from headrace.router.metrics import PoolMetrics, RouterMetrics
from headrace.router.ticket import Ticket
from headrace.router.worker import State, Worker
from headrace.service.secret import HopSecret
from headrace.wire import contract
from headrace.wire.exchange import EVENT_STREAM, Exchange
from headrace.wire.message import Request
from headrace.wire.relay import Relay, RelayWatch, content_type, end_broken
from headrace.wire.response import Answer, ResponseHead

log = logging.getLogger(__name__)

_NOT_NOW = {"not_ready": State.STARTING, "draining": State.DRAINING}
"""What a worker's refusal says of its state, by its code."""
_FATAL_LOSSES = 2
"""Workers that may die under one request before it is held to be the cause."""


class _Journey:
    """What became of one request so far."""

    __slots__ = ("attempts", "dispatched", "epoch", "lost", "metrics", "queue", "queued", "ticket", "tried", "worker")

    def __init__(self, ticket: Ticket, queue: PoolQueue, metrics: PoolMetrics) -> None:
        self.ticket = ticket
        self.queue = queue
        self.metrics = metrics
        self.attempts = 0
        self.lost: set[tuple[str, str]] = set()
        """The workers that were lost, by address and epoch: a worker that came back and is lost again counts twice."""
        self.tried: tuple[Worker, ...] = ()
        self.queued = 0.0
        """Seconds spent waiting for a slot."""
        self.dispatched = 0.0
        """``time.monotonic()`` of the last dispatch."""
        self.worker: Worker
        self.epoch = ""
        """The worker's, as it was at the dispatch."""

    def start(self, head: ResponseHead) -> list[tuple[bytes, bytes]]:
        """The headers of an answer that begins now."""
        self.metrics.first_byte.observe(time.monotonic() - self.dispatched)
        self.queue.answered(self.worker, self.ticket, stream=head.event_stream)
        return [*EVENT_STREAM, *self.headers()] if head.event_stream else [content_type(head), *self.headers()]

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What llm-api is told about the way of its request."""
        return [
            (contract.WORKER, self.worker.name_bytes),
            (contract.QUEUE, b"%d" % (self.queued * 1000)),
            (contract.ATTEMPTS, b"%d" % self.attempts),
        ]


class Delivery:
    """Every request of the traffic port goes through ``deliver``."""

    def __init__(
        self, pools: Mapping[str, PoolQueue], secret: HopSecret, metrics: RouterMetrics, attempts: int
    ) -> None:
        self._pools = pools
        self._secret_line = b"authorization: Bearer %b\r\n" % secret.current if secret.required else b""
        self._metrics = metrics
        self._pool_metrics = {name: PoolMetrics(metrics, name) for name in pools}
        self._attempts = attempts
        self.watch = RelayWatch()

    async def deliver(self, exchange: Exchange, ticket: Ticket) -> None:
        """Answer the request. Raises ApiError while nothing was sent to the client."""
        queue = self._pools.get(ticket.pool)
        if queue is None:
            raise NotFound(f"No pool is named {ticket.pool!r}.", code="model_not_found", param="model")
        journey = _Journey(ticket, queue, self._pool_metrics[ticket.pool])
        outcome = "cancelled"
        try:
            while not await self._attempt(exchange, journey):
                pass
            outcome = "ok" if exchange.status < 400 else f"status_{exchange.status}"
        except ApiError as error:
            outcome = error.code or "error"
            if not exchange.started:
                raise
            self._metrics.broken.labels(ticket.pool).inc()
            end_broken(exchange, error)
        finally:
            if outcome == "ok":
                journey.metrics.ok.inc()
            else:
                self._metrics.requests.labels(ticket.pool, outcome).inc()

    async def _attempt(self, exchange: Exchange, journey: _Journey) -> bool:
        """Send the request to one worker. True if the client has its answer, False if another one must be tried."""
        queue, ticket = journey.queue, journey.ticket
        worker = queue.try_admit(ticket, journey.tried) or await self._queue(journey)
        journey.worker, journey.epoch = worker, worker.load.epoch
        journey.attempts += 1
        journey.dispatched = now = time.monotonic()
        if journey.attempts == 1:
            journey.metrics.waited(ticket.priority, journey.queued)
            journey.metrics.dispatch.observe(now - ticket.arrived)
        relay = Relay(exchange, journey.start, deadline=ticket.deadline)
        self.watch.add(relay)
        worker.attempts.add(relay)
        answered = False
        try:
            connection = worker.origin.take() or await worker.origin.connect()
            request = self._head(exchange.request, worker, journey) + exchange.request.body
            try:
                answer = await relay.run(connection, request)
            except ConnectionLost as lost:
                if not lost.stale:
                    raise
                answer = await self._again(journey, relay, request)
            answered = answer is None or answer.status < 500
            if answer is not None and answer.status == 200:
                queue.answered(worker, ticket, stream=False)
        except WireError as error:
            self._after_loss(exchange, journey, worker, error)
            return False
        finally:
            self.watch.discard(relay)
            worker.attempts.discard(relay)
            queue.release(worker, ticket, finished=answered)
        if answer is None:
            exchange.finish()
        elif answer.status == 503 and self._can_try_again(journey, worker, answer):
            return False
        else:
            journey.metrics.first_byte.observe(time.monotonic() - now)
            _respond(exchange, journey, answer)
        return True

    async def _again(self, journey: _Journey, relay: Relay, request: bytes) -> Answer | None:
        """Once more over a fresh connection: a kept one may have been closed before the request was there.

        Where nobody listens any more it was no such thing: the worker died, and perhaps of this request.
        """
        self._metrics.retries.labels(journey.ticket.pool, "stale").inc()
        try:
            connection = await journey.worker.origin.connect()
        except ConnectError as error:
            raise ConnectionLost(str(error)) from None
        return await relay.run(connection, request)

    async def _queue(self, journey: _Journey) -> Worker:
        """Wait for a slot."""
        began = time.monotonic()
        try:
            return await journey.queue.wait(journey.ticket, journey.tried)
        finally:
            journey.queued += time.monotonic() - began

    def _head(self, request: Request, worker: Worker, journey: _Journey) -> bytes:
        """The request line and headers for the worker: nothing of ours but the id, and the secret."""
        target = request.path.encode("latin-1")
        if request.query:
            target += b"?" + request.query
        request_id = journey.ticket.request_id
        if journey.attempts > 1:
            request_id += b"-%d" % (journey.attempts - 1)
        traceparent = request.headers.get(contract.TRACEPARENT)
        return b"%b %b HTTP/1.1\r\n%b%b%b%b: %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (
            request.method.encode(),
            target,
            worker.origin.host_line,
            self._secret_line,
            b"traceparent: %b\r\n" % traceparent if traceparent else b"",
            contract.REQUEST_ID,
            request_id,
            request.headers.get(b"content-type", b"application/json"),
            len(request.body),
        )

    def _after_loss(self, exchange: Exchange, journey: _Journey, worker: Worker, error: WireError) -> None:
        """Decide about a next attempt: return to make one, raise to end."""
        pool = journey.ticket.pool
        reason = type(error).__name__
        log.warning("attempt failed", extra={"worker": worker.name, "pool": pool, "error": str(error)})
        died = isinstance(error, ConnectionLost) and not error.stale
        if died or isinstance(error, ConnectError):
            _mark(worker, State.DOWN, str(error))
        if exchange.started:
            raise BadGateway("The worker broke off in mid-answer.", code="worker_lost")
        if isinstance(error, UpstreamTimeout) and time.monotonic() > journey.ticket.deadline:
            raise DeadlineExceeded(f"No answer from a worker of {pool} before the deadline.")
        life = (worker.url, journey.epoch)
        if died and life not in journey.lost:
            journey.lost.add(life)
            if len(journey.lost) >= _FATAL_LOSSES:
                self._metrics.poisoned.labels(pool).inc()
                raise CrashesWorker("Two workers were lost while they worked on this request.")
        elif journey.attempts >= self._attempts:
            if isinstance(error, ProtocolError):
                raise BadGateway(f"The workers of {pool} answer nonsense.", code="bad_worker")
            raise Overloaded(f"No worker of {pool} could be reached.", code="no_worker", retry_after=5)
        journey.tried += (worker,)
        self._metrics.retries.labels(pool, reason).inc()

    def _can_try_again(self, journey: _Journey, worker: Worker, answer: Answer) -> bool:
        """A worker that is full or going away does not have the last word, if there is another one.

        One that says that it takes nothing now is believed at once: the queue then waits until it does again.
        """
        if journey.attempts >= self._attempts:
            return False
        journey.tried += (worker,)
        code = usage.error_code(answer.body)
        if code in _NOT_NOW:
            _mark(worker, _NOT_NOW[code], "it refused a request")
        elif all(other in journey.tried for other, ready in journey.queue.workers.items() if ready):
            return False
        self._metrics.retries.labels(journey.ticket.pool, "refused").inc()
        return True


def _mark(worker: Worker, state: State, reason: str) -> None:
    """Send nothing to the worker until it was looked at again. What health or discovery said of it stands."""
    if worker.state not in (State.QUARANTINED, State.SUSPECT) and not worker.leaving:
        worker.turn(state, reason)


def _respond(exchange: Exchange, journey: _Journey, answer: Answer) -> None:
    headers = [content_type(answer.head), *journey.headers()]
    retry_after = answer.head.header(b"retry-after")
    if retry_after:
        headers.append((b"retry-after", retry_after))
    exchange.respond(answer.status, headers, answer.body)

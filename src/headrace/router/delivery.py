"""Takes a request to a worker and brings its answer back, if need be from another one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import NoReturn

from headrace.errors import (
    ApiError,
    BadGateway,
    ConnectError,
    ConnectionLost,
    CrashesWorker,
    DeadlineExceeded,
    NotFound,
    NotResumable,
    Overloaded,
    ProtocolError,
    UpstreamTimeout,
    WireError,
)
from headrace.openai import usage
from headrace.router.dead_engine import died_in_answer, died_in_stream
from headrace.router.flow.queue import PoolQueue
from headrace.router.journey import Journey
from headrace.router.metrics import PoolMetrics, RouterMetrics
from headrace.router.poison import PoisonList
from headrace.router.resume.replay import ReplayMemory
from headrace.router.resume.resumption import Resumption
from headrace.router.resume.tokenizer import RemoteTokenizer
from headrace.router.retry import RetryBudget
from headrace.router.ticket import Ticket
from headrace.router.worker import State, Worker
from headrace.service.secret import HopSecret
from headrace.wire import contract
from headrace.wire.exchange import Exchange
from headrace.wire.relay import Relay, RelayWatch, content_type, end_broken
from headrace.wire.response import Answer

log = logging.getLogger(__name__)

_NOT_NOW = {"not_ready": State.STARTING, "draining": State.DRAINING}
"""What a worker's refusal says of its state, by its code."""
_MOST_LOSSES = 4
"""Workers that may be lost under one stream, even if each got on with it."""
_RESUME_SECONDS = 60.0
"""How long a client that is in the middle of its stream waits for another worker at most."""
_COUNT_SECONDS = 10.0
"""How long one that has its answer waits for the usage."""


class Delivery:
    """Every request of the traffic port goes through ``deliver``."""

    def __init__(
        self,
        pools: Mapping[str, PoolQueue],
        secret: HopSecret,
        metrics: RouterMetrics,
        attempts: int,
        memory: ReplayMemory,
        poison: PoisonList,
    ) -> None:
        self._pools = pools
        self._auth = [(b"authorization", b"Bearer %b" % secret.current)] if secret.required else []
        self._auth_line = b"".join(b"%b: %b\r\n" % field for field in self._auth)
        self._metrics = metrics
        self._pool_metrics = {name: PoolMetrics(metrics, name) for name in pools}
        self._budgets = {name: RetryBudget(time.monotonic()) for name in pools}
        self._attempts = attempts
        self._memory = memory
        self._poison = poison
        self.watch = RelayWatch()

    async def deliver(self, exchange: Exchange, ticket: Ticket) -> None:
        """Answer the request. Raises ApiError while nothing was sent to the client."""
        pool = ticket.pool
        queue = self._pools.get(pool)
        if queue is None:
            raise NotFound(f"No pool is named {pool!r}.", code="model_not_found", param="model")
        self._poison.check(pool, exchange.request.body)
        self._budgets[pool].deposit()
        journey = Journey(exchange, ticket, queue, self._pool_metrics[pool], self._memory)
        outcome = "cancelled"
        try:
            while not await self._attempt(journey):
                pass
            outcome = "ok" if exchange.status < 400 else f"status_{exchange.status}"
        except ApiError as error:
            outcome = error.code or "error"
            if not exchange.started:
                raise
            self._metrics.broken.labels(pool).inc()
            end_broken(exchange, error)
        except asyncio.CancelledError:
            self._metrics.cancellations.labels(pool, journey.stage()).inc()
            raise
        finally:
            journey.close()
            if outcome == "ok":
                journey.metrics.ok.inc()
            else:
                self._metrics.requests.labels(pool, outcome).inc()

    async def _attempt(self, journey: Journey) -> bool:
        """Send the request to one worker. True if the client has its answer, False if another one must be tried."""
        resumption, queue, ticket = journey.resumption, journey.queue, journey.ticket
        if resumption is not None and resumption.finished:
            await self._end(journey, resumption)
            return True
        worker = queue.try_admit(ticket, journey.tried) or await self._queue(journey)
        relay = journey.dispatch(worker, time.monotonic())
        self.watch.add(relay)
        worker.attempts.add(relay)
        answered = False
        try:
            body = journey.exchange.request.body if resumption is None else await self._join(journey, resumption)
            answer = await self._ask(journey, relay, body) if body else None
            if answer is not None and died_in_answer(answer):
                raise ConnectionLost("the worker says that its engine died")
            answered = answer is None or answer.status < 500
            if not answered and answer is not None and answer.status != 503:  # that one only has no room
                worker.failures += 1
            if answer is not None and answer.status == 200:
                queue.answered(worker, ticket, stream=False)
        except WireError as error:
            self._after_loss(journey, worker, error)
            return False
        except NotResumable as error:
            self._after_no(journey, worker, error)
            return False
        finally:
            relay.end()
            self.watch.discard(relay)
            worker.attempts.discard(relay)
            queue.release(worker, ticket, finished=answered)
        if answer is not None:
            return self._take(journey, worker, answer)
        if resumption is not None and resumption.stopped:
            await self._end(journey, resumption)
        else:
            journey.exchange.finish()
        return True

    async def _queue(self, journey: Journey) -> Worker:
        """Wait for a slot."""
        began = time.monotonic()
        try:
            return await journey.queue.wait(journey.ticket, journey.tried)
        finally:
            journey.queued += time.monotonic() - began

    async def _ask(self, journey: Journey, relay: Relay, body: bytes) -> Answer | None:
        """Send ``body`` to the journey's worker. As ``Relay.begin``."""
        worker = journey.worker
        assert worker is not None
        connection = worker.origin.take() or await worker.origin.connect()
        journey.working = True
        try:  # the request is no variable: a stream would hold a second copy of its body to its end
            return await relay.begin(connection, self._head(journey, worker, len(body)) + body)
        except ConnectionLost as lost:
            if not lost.stale:
                raise
        return await self._again(journey, worker, relay, body)

    async def _again(self, journey: Journey, worker: Worker, relay: Relay, body: bytes) -> Answer | None:
        """Once more over a fresh connection: a kept one may have been closed before the request was there.

        Where nobody listens any more it was no such thing: the worker died, and perhaps of this request.
        """
        self._metrics.retries.labels(journey.ticket.pool, "stale").inc()
        try:
            connection = await worker.origin.connect()
        except ConnectError as error:
            raise ConnectionLost(str(error)) from None
        return await relay.begin(connection, self._head(journey, worker, len(body)) + body)

    def _head(self, journey: Journey, worker: Worker, length: int) -> bytes:
        """The request line and headers for the worker: nothing of ours but the id, and the secret."""
        request = journey.exchange.request
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
            self._auth_line,
            b"traceparent: %b\r\n" % traceparent if traceparent else b"",
            contract.REQUEST_ID,
            request_id,
            request.headers.get(b"content-type", b"application/json"),
            length,
        )

    # ---- what came back ----

    def _take(self, journey: Journey, worker: Worker, answer: Answer) -> bool:
        """A whole answer: pass it on, or let another worker try. As ``_attempt``."""
        if answer.status == 503 and self._can_try_again(journey, worker, answer):
            return False
        if journey.exchange.started:
            self._give_up(journey, NotResumable("refused", f"another worker answered with status {answer.status}"))
        journey.metrics.first_byte.observe(time.monotonic() - journey.dispatched)
        headers = [content_type(answer.head), *journey.headers()]
        retry_after = answer.head.header(b"retry-after")
        if retry_after:
            headers.append((b"retry-after", retry_after))
        journey.exchange.respond(answer.status, headers, answer.body)
        return True

    def _can_try_again(self, journey: Journey, worker: Worker, answer: Answer) -> bool:
        """A worker that is full or going away does not have the last word, if there is another one.

        One that says that it takes nothing now is believed at once: the queue then waits until it does again.
        """
        journey.tried += (worker,)
        code = usage.error_code(answer.body)
        if code in _NOT_NOW:
            _mark(worker, _NOT_NOW[code], "it refused a request")
        elif self._none_left(journey):
            return False
        if not self._may_retry(journey):
            return False
        self._metrics.retries.labels(journey.ticket.pool, "refused").inc()
        return True

    def _after_loss(self, journey: Journey, worker: Worker, error: WireError) -> None:
        """Decide about a next attempt: return to make one, raise to end."""
        pool = journey.ticket.pool
        log.warning("attempt failed", extra={"worker": worker.name, "pool": pool, "error": str(error)})
        died = isinstance(error, ConnectionLost) and not error.stale
        if died or isinstance(error, ConnectError):
            _mark(worker, State.DOWN, str(error))
        started = journey.exchange.started
        if isinstance(error, UpstreamTimeout) and not started and time.monotonic() > journey.ticket.deadline:
            raise DeadlineExceeded(f"No answer from a worker of {pool} before the deadline.")
        fresh = died and journey.working and self._blame(journey)
        if started:
            self._resume(journey, fresh)
        elif not fresh and not self._may_retry(journey):
            if isinstance(error, ProtocolError):
                raise BadGateway(f"The workers of {pool} answer nonsense.", code="bad_worker")
            raise Overloaded(f"No worker of {pool} could be reached.", code="no_worker", retry_after=5)
        journey.tried += (worker,)
        self._metrics.retries.labels(pool, type(error).__name__).inc()

    def _may_retry(self, journey: Journey) -> bool:
        """Whether another attempt may be made after a refusal or a connection that failed."""
        if journey.tries >= self._attempts:
            return False
        return bool(journey.lost) or self._budgets[journey.ticket.pool].withdraw(time.monotonic())

    def _blame(self, journey: Journey) -> bool:
        """A worker died with the request. False if its death was known. Raises CrashesWorker if it died of it."""
        if not journey.lose():
            return False
        pool = journey.ticket.pool
        if journey.blamed > 1:
            self._metrics.poisoned.labels(pool).inc()
            self._poison.ban(pool, journey.exchange.request.body)
            raise CrashesWorker("Two workers were lost while they worked on this request.")
        if len(journey.lost) >= _MOST_LOSSES:
            self._give_up(journey, NotResumable("losses", f"{_MOST_LOSSES} workers were lost meanwhile"))
        return True

    # ---- streams that broke ----

    def _resume(self, journey: Journey, fresh: bool) -> None:
        """Let the next attempt go on with the stream; raise where that is not possible."""
        exchange, now = journey.exchange, time.monotonic()
        if not exchange.streaming_events:
            raise BadGateway("The worker broke off in mid-answer.", code="worker_lost")
        if fresh:
            journey.tries = 0
        try:
            if journey.replay is None:
                raise NotResumable("replay_memory", "too much was being sent to keep it")
            if journey.tries >= self._attempts:
                raise NotResumable("no_worker", "no other worker could be reached")
            journey.resumption = Resumption(exchange.request.path, exchange.request.body, journey.replay)
        except NotResumable as error:
            self._give_up(journey, error)
        journey.ticket.deadline = max(journey.ticket.deadline, now + _RESUME_SECONDS)

    def _after_no(self, journey: Journey, worker: Worker, error: NotResumable) -> None:
        """The worker cannot go on with the stream; others may be of another kind."""
        journey.tried += (worker,)
        if self._none_left(journey) or journey.tries >= self._attempts:
            self._give_up(journey, error)

    def _none_left(self, journey: Journey) -> bool:
        """Whether all workers that are ready were tried."""
        return all(worker in journey.tried for worker, ready in journey.queue.workers.items() if ready)

    def _give_up(self, journey: Journey, error: NotResumable) -> NoReturn:
        """The stream cannot be gone on with."""
        self._metrics.not_resumable.labels(journey.ticket.pool, error.reason).inc()
        message = f"The worker broke off in mid-answer, which cannot be continued: {error}."
        raise BadGateway(message, code="worker_lost") from None

    async def _join(self, journey: Journey, resumption: Resumption) -> bytes:
        """The request by which the journey's worker goes on with the stream; empty if there is nothing left to ask."""
        worker, ticket, replay = journey.worker, journey.ticket, journey.replay
        assert worker is not None
        assert replay is not None
        planned = await resumption.plan(RemoteTokenizer(worker.origin, self._auth))
        if planned.exhausted:
            journey.exchange.write(resumption.cut_off(planned))
            return b""
        relay, splice = journey.relay, resumption.splice(planned)

        def go_on(events: bytes) -> bytes:
            if died_in_stream(events):
                raise ConnectionLost("the worker says that its engine died")
            if ticket.uncached:  # these are the first
                worker.answered(ticket)
            changed = replay.keep(splice.on_events(events))
            relay.enough = splice.stopped
            return changed

        relay.on_events = go_on
        self._metrics.resumes.labels(journey.ticket.pool).inc()
        return planned.encode()

    async def _end(self, journey: Journey, resumption: Resumption) -> None:
        """Send the last events of a stream that lacks nothing else; its usage only if a worker can soon count it."""
        queue, ticket = journey.queue, journey.ticket
        ticket.deadline = time.monotonic() + _COUNT_SECONDS
        usage_event = b""
        for _ in range(self._attempts):
            try:
                worker = queue.try_admit(ticket, journey.tried) or await self._queue(journey)
            except ApiError:
                break
            try:
                usage_event = await resumption.usage(RemoteTokenizer(worker.origin, self._auth))
                break
            except WireError:
                journey.tried += (worker,)
            finally:
                queue.release(worker, ticket, finished=False)
        journey.exchange.write(usage_event + resumption.end())
        journey.exchange.finish()


def _mark(worker: Worker, state: State, reason: str) -> None:
    """Send nothing to the worker until it was looked at again. What health or discovery said of it stands."""
    if worker.state not in (State.QUARANTINED, State.SUSPECT) and not worker.leaving:
        worker.turn(state, reason)

"""What became of one request so far."""

from __future__ import annotations

import time

from headrace.errors import ConnectionLost
from headrace.router.dead_engine import died_in_stream
from headrace.router.flow.queue import PoolQueue
from headrace.router.metrics import PoolMetrics
from headrace.router.resume.continuation import RESUMABLE
from headrace.router.resume.replay import Replay, ReplayMemory
from headrace.router.resume.resumption import Resumption
from headrace.router.ticket import Ticket
from headrace.router.worker import State, Worker
from headrace.wire import contract
from headrace.wire.exchange import EVENT_STREAM, Exchange
from headrace.wire.relay import Relay, content_type
from headrace.wire.response import ResponseHead

_PROGRESS = 16
"""Events after which a worker is held to have got past the place where the one before it was lost."""


class Journey:
    """One request, from its arrival to the end of its answer."""

    __slots__ = (
        "_kept",
        "attempts",
        "blamed",
        "dispatched",
        "epoch",
        "exchange",
        "lost",
        "memory",
        "metrics",
        "queue",
        "queued",
        "relay",
        "replay",
        "resumption",
        "steps",
        "ticket",
        "tried",
        "tries",
        "worker",
        "working",
    )

    def __init__(
        self, exchange: Exchange, ticket: Ticket, queue: PoolQueue, metrics: PoolMetrics, memory: ReplayMemory
    ) -> None:
        self.exchange = exchange
        self.ticket = ticket
        self.queue = queue
        self.metrics = metrics
        self.memory = memory
        self.attempts = 0
        self.tries = 0
        """The attempts since the stream was last taken to another worker."""
        self.lost: set[tuple[str, str]] = set()
        """The workers that were lost, by address and epoch: a worker that came back and is lost again counts twice."""
        self.blamed = 0
        """How many of them in a row did not get past the place where the first of them was lost."""
        self.tried: tuple[Worker, ...] = ()
        self.queued = 0.0
        """Seconds spent waiting for a slot."""
        self.dispatched = 0.0
        """``time.monotonic()`` of the last dispatch."""
        self.worker: Worker | None = None
        self.epoch = ""
        """The worker's, as it was at the dispatch."""
        self.working = False
        """The worker has the request."""
        self.steps = 0
        """Steps that the worker's engine was known to have made at the dispatch; -1 if it had nothing else to do."""
        self.relay: Relay
        self.replay: Replay | None = None
        self.resumption: Resumption | None = None
        self._kept = 0
        """Length of the replay at the dispatch."""

    def dispatch(self, worker: Worker, now: float) -> Relay:
        """The attempt that begins now."""
        self.worker, self.epoch, self.working = worker, worker.load.epoch, False
        self.steps = worker.load.iterations if worker.requests > 1 else -1
        self.attempts += 1
        self.tries += 1
        self.dispatched = now
        if self.attempts == 1:
            self.metrics.waited(self.ticket.priority, self.queued)
            self.metrics.dispatch.observe(now - self.ticket.arrived)
        if self.replay is not None:
            self._kept = self.replay.length
        joined = self.resumption is not None
        self.relay = Relay(self.exchange, self._start, deadline=self.ticket.deadline, joined=joined)
        return self.relay

    def lose(self) -> bool:
        """The worker died with the request. False if that was known.

        A process that dies takes its connections with it one by one, so one life is one loss, however often it is met.
        """
        assert self.worker is not None
        life = (self.worker.url, self.epoch)
        if life in self.lost:
            return False
        self.lost.add(life)
        if self._found_it_standing(self.worker):
            return True
        progress = self.replay.length - self._kept if self.replay is not None else 0
        self.blamed = 1 if progress >= _PROGRESS else self.blamed + 1
        return True

    def _found_it_standing(self, worker: Worker) -> bool:
        """Whether the worker was given up because it stood still, and had done so before the request came."""
        return worker.doubt is State.QUARANTINED and worker.load.iterations == self.steps > 0

    def close(self) -> None:
        if self.replay is not None:
            self.replay.close()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What llm-api is told about the way of its request."""
        assert self.worker is not None
        return [
            (contract.WORKER, self.worker.name_bytes),
            (contract.QUEUE, b"%d" % (self.queued * 1000)),
            (contract.ATTEMPTS, b"%d" % self.attempts),
        ]

    def stage(self) -> str:
        """Where the request is."""
        if self.exchange.started:
            return "streaming" if self.exchange.writable else "stalled"
        return "queued" if self.worker is None else "waiting"

    def _start(self, head: ResponseHead) -> list[tuple[bytes, bytes]]:
        """The headers of an answer that begins now."""
        assert self.worker is not None
        self.metrics.first_byte.observe(time.monotonic() - self.dispatched)
        self.queue.answered(self.worker, self.ticket, stream=head.event_stream)
        if not head.event_stream:
            return [content_type(head), *self.headers()]
        request = self.exchange.request
        if request.path in RESUMABLE:
            self.replay = self.memory.open(len(request.body))
            if self.replay is not None:
                self.relay.on_events = self._keep
            else:
                self.metrics.unrecorded.inc()
        return [*EVENT_STREAM, *self.headers()]

    def _keep(self, events: bytes) -> bytes:
        """A relay's ``on_events``: keep them, unless they say that the engine died. Raises ConnectionLost then."""
        if died_in_stream(events):
            raise ConnectionLost("the worker says that its engine died")
        assert self.replay is not None
        return self.replay.keep(events)

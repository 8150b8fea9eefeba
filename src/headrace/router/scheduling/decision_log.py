"""The decision log: JSON lines from which decisions can be made again, by another profile (``replay``).

One line for each decision, with the request as placement saw it and each candidate as it was in that moment, and one
for each first byte. No prompt, no tenant: prompts are hashes already, sessions are hashed here. Off unless a path is
set, and bounded: it stops at ``limit`` bytes.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import IO

import msgspec
from xxhash import xxh3_64_hexdigest

from headrace.router.scheduling.decisions import Decision
from headrace.router.scheduling.scheduler import Scheduler
from headrace.router.ticket import Ticket
from headrace.router.worker import Worker

log = logging.getLogger(__name__)

LIMIT = 256 * 1024 * 1024
_BUFFER = 256 * 1024


class Candidate(msgspec.Struct, omit_defaults=True):
    """A worker as it was when the decision was made; the names are those of ``Worker`` and ``Load``."""

    worker: str
    in_flight: int = 0
    work: int = 0
    prefill: float = 0.0
    running: int = 0
    waiting: int = 0
    max_running: int = 0
    queued_tokens: int = 0
    kv_used: int = 0
    kv_total: int = 0
    block_size: int = 0


class Choice(msgspec.Struct, tag_field="event", tag="choice", omit_defaults=True):
    """A decision."""

    at: float
    """Seconds on the router's monotonic clock."""
    pool: str
    id: str
    prompt: int
    output: int
    chosen: str
    candidates: list[Candidate]
    priority: int = 5
    adapter: str = ""
    session: str = ""
    prefix: str = ""


class FirstByte(msgspec.Struct, tag_field="event", tag="first_byte"):
    """The first byte of an answer, or all of one of about ``output`` tokens that does not stream."""

    id: str
    worker: str
    seconds: float
    output: int


Line = Choice | FirstByte


class DecisionLog:
    """Appends to one file. Lines are complete: several processes may write to the same one."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        """Raises OSError where the file cannot be opened."""
        self._file: IO[bytes] | None = path.open("ab", buffering=0)
        self._path = path
        self._left = limit - path.stat().st_size
        self._encoder = msgspec.json.Encoder()
        self._lines: list[bytes] = []
        self._size = 0

    def attach(self, pool: str, scheduler: Scheduler) -> None:
        """Log this pool's decisions."""
        scheduler.decisions.logs = lambda decision: self._write(_choice(pool, decision))
        scheduler.logs = self._answered

    def flush(self) -> None:
        """Bring to the disk what was logged; call it each second."""
        data, self._lines, self._size = b"".join(self._lines), [], 0
        if self._file is None or not data:
            return
        try:
            self._file.write(data)
        except OSError as error:
            self._stop(error.strerror or str(error))
            return
        self._left -= len(data)
        if self._left <= 0:
            self._stop("it is as large as it may be")

    def close(self) -> None:
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _answered(self, worker: Worker, ticket: Ticket, seconds: float, output: int) -> None:
        self._write(FirstByte(_text(ticket.request_id), worker.name, round(seconds, 6), output))

    def _write(self, line: Line) -> None:
        if self._file is None:
            return
        data = self._encoder.encode(line) + b"\n"
        self._lines.append(data)
        self._size += len(data)
        if self._size > _BUFFER:
            self.flush()

    def _stop(self, reason: str) -> None:
        log.warning("the decision log ends", extra={"path": str(self._path), "reason": reason})
        if self._file is not None:
            self._file.close()
            self._file = None


def _choice(pool: str, decision: Decision) -> Choice:
    ticket = decision.ticket
    return Choice(
        round(decision.at, 6),
        pool,
        _text(ticket.request_id),
        ticket.prompt_tokens,
        ticket.output_tokens,
        decision.chosen.name,
        [_candidate(worker) for worker in decision.candidates],
        ticket.priority,
        _text(ticket.adapter),
        xxh3_64_hexdigest(ticket.session) if ticket.session else "",
        _text(ticket.prefix),
    )


def _candidate(worker: Worker) -> Candidate:
    load = worker.load
    return Candidate(
        worker.name,
        worker.in_flight,
        worker.work,
        round(worker.prefill, 1),
        load.running,
        load.waiting,
        load.max_running,
        load.queued_tokens,
        load.kv_used,
        load.kv_total,
        load.block_size,
    )


def _text(value: bytes) -> str:
    return value.decode("latin-1")

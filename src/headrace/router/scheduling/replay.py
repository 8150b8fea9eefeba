"""Makes the decisions of a log again, by another profile: ``headrace router replay``.

Each decision is made by the other profile on the candidates as they were then, and what it chose is compared with what
was chosen. Then the router's own choice is taken to have happened: prefix index and latency models learn what really
was, so that every decision is judged in the state in which it would have been made. What the other profile would have
made of the fleet over time is not to be had from a log.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from headrace.errors import ConfigError
from headrace.router.scheduling import profiles
from headrace.router.scheduling.decision_log import Candidate, Choice, FirstByte, Line
from headrace.router.scheduling.latency import Latency
from headrace.router.scheduling.scheduler import Scheduler
from headrace.router.ticket import Ticket
from headrace.router.worker import Load, Worker
from headrace.wire import contract

_OPEN = 65_536
"""Decisions that wait for their first byte."""


@dataclass
class Side:
    """What one of the two chose, over all decisions between several candidates."""

    cached: list[float] = field(default_factory=list)
    """The share of the prompt that the chosen worker was believed to have."""
    load: list[float] = field(default_factory=list)
    """Its requests, relative to the mean of the candidates; 1 where none has any."""
    expected: list[float] = field(default_factory=list)
    """Seconds to the first token, by the latency model that learned from the log."""


@dataclass
class Report:
    """The comparison."""

    profile: str
    decisions: int = 0
    compared: int = 0
    """Decisions with more than one candidate."""
    same: int = 0
    recorded: Side = field(default_factory=Side)
    replayed: Side = field(default_factory=Side)


class _Open(NamedTuple):
    """A decision that waits for its first byte."""

    ticket: Ticket
    worker: Worker
    inputs: tuple[float, ...] | None
    """What the profile wants to learn from, and what the judge wants to."""
    judged: tuple[float, ...] | None


class _Pool:
    """The state that one pool's decisions are made in."""

    def __init__(self, profile: str, own: Mapping[str, Mapping[str, float]]) -> None:
        self.scheduler: Scheduler = profiles.build(profile, own, random.Random(0))  # noqa: S311  repeatable
        self.judge = Latency(self.scheduler.index)
        self.workers: dict[str, Worker] = {}
        self.open: dict[str, _Open] = {}

    def decide(self, choice: Choice, report: Report) -> None:
        ticket = _ticket(choice)
        candidates = [self._worker(seen) for seen in choice.candidates]
        chosen, _, _, matches = self.scheduler.choose(ticket, candidates)
        recorded = self.workers[choice.chosen]
        if len(candidates) > 1:
            report.compared += 1
            report.same += chosen is recorded
            mean = sum(worker.requests for worker in candidates) / len(candidates)
            for side, worker in ((report.recorded, recorded), (report.replayed, chosen)):
                side.cached.append(self.scheduler.index.cached(matches, worker))
                side.load.append(worker.requests / mean if mean else 1.0)
                ticket.uncached = ticket.prompt_tokens * (1.0 - side.cached[-1])
                side.expected.append(self.judge.expected(ticket, worker))
        self.scheduler.place(ticket, recorded, matches)
        own = ticket.inputs
        self.judge.placed(ticket, recorded)
        if len(self.open) < _OPEN:
            self.open[choice.id] = _Open(ticket, recorded, own, ticket.inputs)

    def answered(self, line: FirstByte) -> None:
        found = self.open.get(line.id)
        if found is None or found.worker.name != line.worker:
            return
        del self.open[line.id]
        ticket, worker = found.ticket, found.worker
        ticket.inputs = found.inputs
        self.scheduler.answered(worker, ticket, line.seconds, line.output)
        ticket.inputs = found.judged
        self.judge.answered(worker, ticket, line.seconds, line.output)

    def _worker(self, seen: Candidate) -> Worker:
        worker = self.workers.get(seen.worker)
        if worker is None:
            worker = self.workers[seen.worker] = Worker(f"http://{seen.worker}")
        if (seen.running, seen.waiting, seen.queued_tokens, seen.kv_used) != _told(worker.load):
            worker.observe(
                Load(
                    seen.running,
                    seen.waiting,
                    seen.max_running,
                    seen.queued_tokens,
                    seen.kv_used,
                    seen.kv_total,
                    seen.block_size,
                )
            )
        worker.in_flight, worker.work, worker.prefill = seen.in_flight, seen.work, seen.prefill
        return worker


def replay(lines: Iterable[Line], profile: str, own: Mapping[str, Mapping[str, float]]) -> Report:
    """Raises ConfigError for a profile that does not exist."""
    report = Report(profile)
    pools: dict[str, _Pool] = {}
    for line in lines:
        if isinstance(line, Choice):
            if line.pool not in pools:
                pools[line.pool] = _Pool(profile, own)
            report.decisions += 1
            pools[line.pool].decide(line, report)
        else:
            for pool in pools.values():
                pool.answered(line)
    return report


def read(path: Path) -> Iterator[Line]:
    """The lines of a log. Raises ConfigError where it cannot be read, or a line is none."""
    decoder = msgspec.json.Decoder(Line)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise ConfigError(f"{path}, line {number}: is not of a decision log: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _told(load: Load) -> tuple[int, int, int, int]:
    return load.running, load.waiting, load.queued_tokens, load.kv_used


def _ticket(choice: Choice) -> Ticket:
    headers = {
        contract.MODEL: choice.pool.encode(),
        contract.COST: b"%d,%d" % (choice.prompt, choice.output),
        contract.PRIORITY: b"%d" % choice.priority,
        contract.ADAPTER: choice.adapter.encode("latin-1"),
        contract.SESSION: choice.session.encode(),
        contract.PREFIX_BLOCKS: choice.prefix.encode("latin-1"),
    }
    return Ticket(headers, choice.at)

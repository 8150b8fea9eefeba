"""Prefer the worker whose first token is expected first: an online model of each worker's latency.

For each worker, recursive least squares (``least_squares``) over what decides about a first token:

    ttft = a + b · uncached prompt tokens + c · prompt tokens before it + d · running requests + e · KV use

with uncached tokens from the prefix index, and as tokens before it those of our own requests without a first byte, or
``queued_tokens`` of ``/load`` where these are more: they have ours in them. Answers that do not stream are learned from
too: their whole time is this plus f · output tokens. A model that is learned needs no table of GPUs, so vLLM beside
TensorRT-LLM, or old cards beside new ones, get what each can take. llm-d's predicted latency scorer does the same with
a sidecar of gradient-boosted trees and, as published, for uniform pools.

To it comes what the placement costs the others: while a worker computes a prompt, what runs there and what comes next
waits. Of two workers on which a request would have its first token at the same time the one that computes less is
taken, and the more so the fuller they are. To look at the request alone wastes the caches just when the work that they
save is missed (``docs/simulator.md``).

Cold start: until a worker has shown itself, it is taken to be like those that have (the mean of their models), and
the first ones to be like the prior below, by which more to compute, more before it and more beside it are each worse.
The pool's first answers scale the prior: engines differ by more than ten times.
Else the first worker that turned out better than the prior would get everything, and nobody would ever learn of the
others. For the same reason a running request is never free: where first tokens do not slow down under load, only that
tells two workers apart.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from headrace.router.scheduling.least_squares import LeastSquares
from headrace.router.scheduling.prefix_affinity import known_or_owner
from headrace.router.scheduling.prefix_index import PrefixIndex
from headrace.router.scheduling.scheduler import Scorer
from headrace.router.ticket import Ticket
from headrace.router.worker import Worker

_PRIOR = (0.03, 0.1, 0.1, 0.005, 0.05, 0.02)
"""Seconds: always; 1,000 uncached tokens; 1,000 before it; a running request; a full KV cache; an output token."""
_DOUBT = (0.1, 0.2, 0.2, 0.02, 0.2, 0.05)
_LEAST_SECONDS = 0.001
_EAGER = 64
"""Observations of a worker that are all learned from; of later requests one in ``_PAUSE``: learning takes time."""
_PAUSE = 0.02
"""Seconds. A pool that is not busy learns from every request."""
_LEARNED = 16
"""Observations after which a worker's model is believed, and worth handing on."""
_CROWD = 0.0005
"""Seconds that a running request costs at least."""
_OTHERS = 5.0
"""What computing a token again costs the others on a full worker, in that token's own time."""


class Latency(Scorer):
    """Scores the shortest expected time divided by the candidate's own: 1 is the best, 0.5 takes twice as long."""

    name = "latency"

    def __init__(self, index: PrefixIndex) -> None:
        self._index = index
        self._models = _Models()
        self._next = -math.inf

    def score(self, ticket: Ticket, candidates: Sequence[Worker]) -> list[float]:
        matches = ticket.matches
        cached = self._index.cached
        prompt = ticket.prompt_tokens / 1000
        models = self._models
        expected = []
        for worker in candidates:
            a, b, c, d, e, _ = models.judge(worker)
            uncached = prompt * (1.0 - cached(matches, worker)) if matches else prompt
            before = max(worker.prefill, worker.load.queued_tokens) / 1000
            requests = max(worker.in_flight, worker.told)
            full = worker.kv_usage or requests / worker.load.max_running
            own = b * uncached * (1.0 + _OTHERS * full)
            expected.append(_LEAST_SECONDS + a + own + c * before + (d + _CROWD) * requests + e * worker.kv_usage)
        best = min(expected)
        return [best / seconds for seconds in expected]

    def favourites(self, ticket: Ticket, workers: Sequence[Worker]) -> Iterable[Worker]:
        return known_or_owner(self._index, ticket, workers)

    def expected(self, ticket: Ticket, worker: Worker) -> float:
        """Seconds to the first token, with what ``ticket.uncached`` says of the worker."""
        return self._models[worker].expect(_inputs(ticket, worker))

    def placed(self, ticket: Ticket, worker: Worker) -> None:
        now = ticket.dispatched
        if now >= self._next or self._models[worker].count < _EAGER:
            self._next = now + _PAUSE
            ticket.inputs = _inputs(ticket, worker)
        else:
            ticket.inputs = None

    def answered(self, worker: Worker, ticket: Ticket, seconds: float, output: int) -> None:
        inputs, ticket.inputs = ticket.inputs, None
        if inputs is not None:
            self._models.learn(worker, (*inputs[:-1], output) if output else inputs, seconds)

    def forget(self, worker: Worker) -> None:
        self._models.drop(worker)


class _Models(dict[Worker, LeastSquares]):
    """Each worker's model; one that is asked for begins with what the others have learned."""

    def __init__(self) -> None:
        super().__init__()
        self._common: Sequence[float] | None = None
        self._ratios: list[float] = []
        """The first times that were seen, each divided by what the prior expects."""
        self._scale = 1.0
        """Their median: how many times as slow as the prior these engines are."""

    def __missing__(self, worker: Worker) -> LeastSquares:
        model = self[worker] = LeastSquares(self.common(), [self._scale * value for value in _DOUBT])
        return model

    def judge(self, worker: Worker) -> Sequence[float]:
        """The coefficients to place by: the worker's own once they are worth it."""
        model = self[worker]
        return model.coefficients if model.count >= _LEARNED else self.common()

    def common(self) -> Sequence[float]:
        """The mean of the models that have learned; the prior while there is none."""
        if self._common is None:
            learned = [model.coefficients for model in self.values() if model.count >= _LEARNED]
            columns = zip(*learned, strict=True)
            self._common = (
                [sum(column) / len(learned) for column in columns]
                if learned
                else [self._scale * value for value in _PRIOR]
            )
        return self._common

    def learn(self, worker: Worker, inputs: Sequence[float], seconds: float) -> None:
        self._common = None
        if len(self._ratios) < _LEARNED:
            self._size_up(inputs, seconds)
        else:
            self[worker].learn(inputs, seconds)

    def _size_up(self, inputs: Sequence[float], seconds: float) -> None:
        """The pool's first answers, of whichever worker, say how fast such engines are; all models begin there."""
        self._ratios.append(seconds / sum([a * b for a, b in zip(_PRIOR, inputs, strict=True)]))
        self._scale = statistics.median(self._ratios)
        self.clear()

    def drop(self, worker: Worker) -> None:
        self.pop(worker, None)
        self._common = None


def _inputs(ticket: Ticket, worker: Worker) -> tuple[float, ...]:
    before = max(worker.prefill, worker.load.queued_tokens) / 1000
    return (1.0, ticket.uncached / 1000, before, worker.requests, worker.kv_usage, 0.0)

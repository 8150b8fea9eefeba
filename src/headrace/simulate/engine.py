"""A model of an engine with continuous batching (Yu et al., "Orca", OSDI 2022; chunked prefills as in Agrawal et al.,
"Sarathi-Serve", OSDI 2024; paged KV cache with prefix caching and preemption by recomputation as in vLLM).

A step gives every decoding sequence one token and computes up to ``chunk`` tokens, less these, of the prompts that were
admitted, first come, first served. A prompt's last chunk gives its first token. A request is admitted where fewer than
``max_running`` run and the KV cache takes what of its prompt is not cached. Where the running sequences outgrow the
cache the youngest is preempted and computed anew later.

While nobody comes or goes all steps are alike but for the growing cache, so they are taken as one event: that is what
makes hundreds of engines affordable.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import Protocol

from headrace.errors import ConfigError
from headrace.router.worker import Load, ModelLoad
from headrace.simulate.constants import Constants
from headrace.simulate.kv_cache import KvCache
from headrace.simulate.request import Request
from headrace.simulate.text import BLOCK
from headrace.simulate.timeline import Timeline

POOL = "m"
_CONTEXT = 131_072
_SPAN = 4096
"""Steps in one event at most."""


class Listener(Protocol):
    """Who gave the engine a request."""

    def began(self) -> None:
        """The first token of this attempt is there."""

    def ended(self) -> None:
        """So is the last one."""

    def lost(self) -> None:
        """The engine died."""


class Sequence:
    """A request in an engine."""

    __slots__ = ("gone", "held", "last", "listener", "own", "produced", "request", "todo")

    def __init__(self, request: Request, listener: Listener, produced: int) -> None:
        self.request = request
        self.listener = listener
        self.produced = produced
        """Tokens of the answer, those of attempts before this one included."""
        self.todo = 0
        """Tokens that are to be computed before the next one of the answer."""
        self.held = 0
        """Blocks of the prompt that it holds together with others."""
        self.own = 0
        """Tokens that it alone holds."""
        self.last = 0
        """The step with its last token."""
        self.gone = False
        """It was preempted: what is planned for it is void."""


class Engine:
    def __init__(self, number: int, constants: Constants, timeline: Timeline, speed: float = 1.0) -> None:
        """``speed``: how many times as fast it is as the constants say."""
        self.number = number
        self.constants = constants
        self.speed = speed
        self.alive = True
        self.url = f"http://10.{number >> 16}.{(number >> 8) & 255}.{number & 255}:8000"
        self.busy = 0.0
        """Seconds in which it made steps."""
        self.preempted = 0
        self._timeline = timeline
        self._cache = KvCache(constants.kv_tokens)
        self._life = 1
        self._waiting: deque[Sequence] = deque()
        self._prefilling: deque[Sequence] = deque()
        self._decoding: list[tuple[int, int, Sequence]] = []
        """A heap by the last step of each; those that were preempted are still in it."""
        self._count = 0
        """Sequences that decode."""
        self._context = 0
        """Tokens of their KV cache."""
        self._steps = 0
        self._order = 0
        self._plan = 0
        """Number of the event that is planned; what has another one is void."""
        self._began = 0.0
        self._planned = 0
        """Steps that the planned event stands for; 0 while idle."""
        self._planned_chunk = 0
        self._inside = False

    # ---- what it shows ----

    @property
    def running(self) -> int:
        return self._count + len(self._prefilling)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def kv_usage(self) -> float:
        return min(1.0, (self._cache.used + self._count * self._done()) / self.constants.kv_tokens)

    def load(self) -> Load:
        """Its ``/load``."""
        return Load(
            running=self.running,
            waiting=len(self._waiting),
            max_running=self.constants.max_running,
            queued_tokens=sum(sequence.request.prompt.tokens for sequence in self._waiting),
            kv_used=round(self.kv_usage * self.constants.kv_tokens) // BLOCK,
            kv_total=self.constants.kv_tokens // BLOCK,
            block_size=BLOCK,
            iterations=self._steps + self._done(),
            models=(ModelLoad(POOL, _CONTEXT),),
            epoch=str(self._life),
        )

    # ---- what happens to it ----

    def submit(self, request: Request, listener: Listener, produced: int = 0) -> None:
        """Queue a request, of whose answer ``produced`` tokens are there already. A dead engine refuses: ``lost``.

        Raises ConfigError for one that its cache cannot hold.
        """
        if request.work > self.constants.kv_tokens:
            raise ConfigError(f"simulate: {request.work} tokens do not fit the KV cache of {self.constants.name}")
        if not self.alive:
            self._timeline.after(0.0, listener.lost)
            return
        self._waiting.append(Sequence(request, listener, produced))
        if self._inside:
            return
        if not self._planned:
            self._next()
        elif self._planned > 1 and len(self._waiting) == 1 and self.running < self.constants.max_running:
            self._cut()

    def crash(self) -> None:
        """It loses all that it has."""
        lost = [*self._waiting, *self._prefilling, *(entry[2] for entry in self._decoding if not entry[2].gone)]
        self.alive = False
        self._life += 1
        self._plan += 1
        self._planned = self._count = self._context = 0
        self._waiting.clear()
        self._prefilling.clear()
        self._decoding.clear()
        self._cache.clear()
        for sequence in lost:
            sequence.listener.lost()

    def restart(self) -> None:
        """It is there again, with nothing."""
        self.alive = True

    # ---- steps ----

    def _next(self) -> None:
        """Plan what is next: one step with prompts in it, or as many without as are alike."""
        self._admit()
        if not self._count and not self._prefilling:
            self._planned = 0
            return
        while self._cache.room < self._count > 1:
            self._preempt()
        chunk = min(sum(sequence.todo for sequence in self._prefilling), self.constants.chunk - self._count)
        if chunk <= 0:
            self._drop_gone()
            steps = min(_SPAN, self._decoding[0][0] - self._steps, max(1, self._cache.room // self._count))
        else:
            steps = 1
        self._began = self._timeline.now
        self._planned_chunk = max(0, chunk)
        self._schedule(steps)

    def _schedule(self, steps: int) -> None:
        self._planned = steps
        self._plan += 1
        plan = self._plan
        self._timeline.at(self._began + self._seconds(steps), lambda: self._stepped(plan))

    def _cut(self) -> None:
        """Somebody may join: end at the step that is being made."""
        steps = min(self._planned, self._done() + 1)
        if steps < self._planned:
            self._schedule(steps)

    def _stepped(self, plan: int) -> None:
        if plan != self._plan:
            return
        self._inside = True
        steps = self._planned
        self.busy += self._timeline.now - self._began
        self._steps += steps
        self._context += self._count * steps
        self._cache.grow(self._count * steps)
        began = self._compute(self._planned_chunk)
        while self._decoding and (self._decoding[0][2].gone or self._decoding[0][0] <= self._steps):
            _, _, sequence = heapq.heappop(self._decoding)
            if not sequence.gone:
                self._finish(sequence)
        for sequence in began:
            sequence.listener.began()
            if sequence.produced >= sequence.request.output:
                sequence.listener.ended()
        self._inside = False
        if self.alive:
            self._next()

    def _compute(self, chunk: int) -> list[Sequence]:
        """Compute ``chunk`` tokens of prompts. Returns the sequences that got a token by it."""
        began = []
        while chunk > 0:
            sequence = self._prefilling[0]
            part = min(chunk, sequence.todo)
            sequence.todo -= part
            chunk -= part
            if not sequence.todo:
                self._prefilling.popleft()
                self._begin(sequence)
                began.append(sequence)
        return began

    def _begin(self, sequence: Sequence) -> None:
        """Its prompt is computed, and with it the next token of the answer."""
        keys = sequence.request.prompt.keys[sequence.held :]
        self._cache.share(keys)
        sequence.held += len(keys)
        sequence.own -= len(keys) * BLOCK
        sequence.produced += 1
        left = sequence.request.output - sequence.produced
        if not left:
            self._release(sequence)
            return
        sequence.last = self._steps + left
        sequence.own -= self._steps  # so that own plus the steps made is what it holds at any time
        self._count += 1
        self._context += sequence.request.prompt.tokens + sequence.produced
        self._order += 1
        heapq.heappush(self._decoding, (sequence.last, self._order, sequence))

    def _finish(self, sequence: Sequence) -> None:
        self._stop(sequence)
        sequence.produced = sequence.request.output
        self._release(sequence)
        sequence.listener.ended()

    def _stop(self, sequence: Sequence) -> None:
        """It decodes no longer."""
        sequence.own += self._steps
        self._count -= 1
        produced = sequence.request.output - (sequence.last - self._steps)
        self._context -= sequence.request.prompt.tokens + produced
        sequence.produced = produced

    def _release(self, sequence: Sequence) -> None:
        request = sequence.request
        keys = request.prompt.keys[: sequence.held]
        self._cache.release(keys, sequence.own, request.answered.keys[sequence.held :])

    # ---- who may run ----

    def _admit(self) -> None:
        while self._waiting and self.running < self.constants.max_running:
            sequence = self._waiting[0]
            request = sequence.request
            length = request.prompt.tokens + sequence.produced
            keys = request.prompt.keys
            held = min(self._cache.cached(keys), (length - 1) // BLOCK)  # the last token is always computed
            own = length - held * BLOCK
            if not self._cache.take(keys[:held], own, self.running * BLOCK):  # the others grow too
                return
            self._waiting.popleft()
            sequence.held, sequence.own, sequence.todo = held, own, own
            if not sequence.produced:
                request.cached = held * BLOCK
            self._prefilling.append(sequence)

    def _preempt(self) -> None:
        """Take the youngest out; it is the first to be admitted again."""
        youngest = max((entry for entry in self._decoding if not entry[2].gone), key=lambda entry: entry[1])[2]
        self._stop(youngest)
        youngest.gone = True
        self._cache.release(youngest.request.prompt.keys[: youngest.held], youngest.own)
        self.preempted += 1
        self._waiting.appendleft(Sequence(youngest.request, youngest.listener, youngest.produced))

    def _drop_gone(self) -> None:
        while self._decoding[0][2].gone:
            heapq.heappop(self._decoding)

    # ---- time ----

    def _seconds(self, steps: int) -> float:
        """What so many steps take."""
        first, growth = self._pace()
        return first * steps + growth * steps * (steps - 1) / 2

    def _pace(self) -> tuple[float, float]:
        """Seconds of the first of the planned steps, and how much longer each is than the one before."""
        known, count = self.constants, self._count
        first = (
            known.step + known.prefill * self._planned_chunk + known.sequence * count + known.context * self._context
        )
        return first / self.speed, known.context * count / self.speed

    def _done(self) -> int:
        """Of the planned steps, those that are over by now."""
        if self._planned <= 1:
            return 0
        passed = self._timeline.now - self._began
        first, growth = self._pace()
        if growth * self._planned < 1e-9 * first:
            return min(self._planned, int(passed / first))
        half = first - growth / 2
        return min(self._planned, int((math.sqrt(half * half + 2 * growth * passed) - half) / growth))

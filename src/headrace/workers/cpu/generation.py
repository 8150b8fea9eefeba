"""What one request generates: tokens become text, stop strings end it, all its choices together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from headrace.errors import HeadraceError
from headrace.workers.cpu.detokenize import Detokenizer, Vocabulary
from headrace.workers.cpu.messages import Sampling
from headrace.workers.cpu.plan import Plan
from headrace.workers.cpu.scheduler import Scheduler
from headrace.workers.cpu.stop import StopStrings


class EngineLost(HeadraceError):
    """The engine died with this request in it."""


@dataclass(slots=True)
class Piece:
    """What is new of one choice. ``finish`` is None until its last piece, then ``stop`` or ``length``."""

    index: int
    text: str
    tokens: list[int]
    logprobs: list[float]
    finish: str | None
    stop: str | None = None
    """The stop string that ended it, if one did."""


class Choice:
    """One sequence as a client sees it."""

    def __init__(self, index: int, vocabulary: Vocabulary, stops: list[str], sampling: Sampling) -> None:
        self.index = index
        self.count = 0
        """Tokens generated so far, as usage counts them."""
        self.finish: str | None = None
        self._detokenizer = Detokenizer(vocabulary)
        self._stops = StopStrings(stops)
        self._min_tokens = sampling.min_tokens
        self._tokens: list[int] = []
        self._logprobs: list[float] = []

    def feed(self, tokens: list[int], logprobs: list[float], ended: str) -> Piece | None:
        """Take new tokens in; None as long as there is no text to show for them."""
        texts = []
        for position, token in enumerate(tokens):
            self.count += 1
            self._tokens.append(token)
            if logprobs:
                self._logprobs.append(logprobs[position])
            text, found = self._pass(self._detokenizer.feed((token,)))
            texts.append(text)
            if found:
                self.finish = "stop"
                break
        else:
            if ended:
                texts.append(self._stops.flush())
                self.finish = ended
        text = "".join(texts)
        return self._piece(text) if text or self.finish is not None else None

    def _pass(self, text: str) -> tuple[str, bool]:
        if self.count <= self._min_tokens:  # too early for any end
            return text, False
        return self._stops.feed(text)

    def _piece(self, text: str) -> Piece:
        piece = Piece(self.index, text, self._tokens, self._logprobs, self.finish, self._stops.found)
        self._tokens, self._logprobs = [], []
        return piece


class Generation:
    """All choices of a request; ``close`` must be called whatever happens."""

    def __init__(self, scheduler: Scheduler, vocabulary: Vocabulary, plan: Plan) -> None:
        """Raises Overloaded."""
        scheduler.reserve(len(plan.prompts) * len(plan.samplings))
        self._scheduler = scheduler
        self._changed = asyncio.Event()
        self.prompt_tokens = sum(map(len, plan.prompts))
        pairs = [(prompt, sampling) for prompt in plan.prompts for sampling in plan.samplings]
        self.choices = [Choice(index, vocabulary, plan.stops, sampling) for index, (_, sampling) in enumerate(pairs)]
        self._open = {
            index: scheduler.submit(prompt, sampling, self._changed.set)
            for index, (prompt, sampling) in enumerate(pairs)
        }

    @property
    def completion_tokens(self) -> int:
        return sum(choice.count for choice in self.choices)

    async def pieces(self) -> AsyncIterator[Piece]:
        """Everything new, as it comes. Raises EngineLost."""
        while self._open:
            await self._changed.wait()
            self._changed.clear()
            for index in list(self._open):
                piece = self._take(index)
                if piece is not None:
                    yield piece

    def close(self) -> None:
        """Let go of what still runs."""
        for sequence in self._open.values():
            self._scheduler.cancel(sequence)
        self._open.clear()

    def _take(self, index: int) -> Piece | None:
        sequence = self._open[index]
        if not sequence.tokens and not sequence.ended:
            return None
        if sequence.ended == "failed":
            raise EngineLost("the engine did not finish the request")
        tokens, logprobs = sequence.tokens, sequence.logprobs
        sequence.tokens, sequence.logprobs = [], []
        piece = self.choices[index].feed(tokens, logprobs, sequence.ended)
        if piece is not None and piece.finish is not None:
            del self._open[index]
            self._scheduler.cancel(sequence)  # a stop string ends it here while the engine goes on
        return piece

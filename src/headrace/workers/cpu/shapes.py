"""OpenAI's answers and stream events, for both endpoints.

Structs write their fields in order and leave nothing out, as OpenAI does; ``omit_defaults`` is for what OpenAI leaves
out too.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
from msgspec import UNSET, Struct, UnsetType

from headrace.workers.cpu.detokenize import Vocabulary
from headrace.workers.cpu.generation import Piece

DONE = b"data: [DONE]\n\n"


class Usage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TokenLogprob(Struct):
    token: str
    logprob: float
    bytes: list[int]


class ContentLogprob(TokenLogprob):
    top_logprobs: list[TokenLogprob]


class ChatLogprobs(Struct):
    content: list[ContentLogprob]
    refusal: None = None


class TextLogprobs(Struct):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class ChatMessage(Struct):
    role: str
    content: str
    refusal: None = None


class Delta(Struct, omit_defaults=True):
    role: str | None = None
    content: str | None = None


class ChatChoice(Struct):
    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: str
    stop_reason: str | UnsetType = UNSET
    """The stop string that ended it, if one did, as vLLM tells it."""


class ChatChunkChoice(Struct):
    index: int
    delta: Delta
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: str | UnsetType = UNSET


class TextChoice(Struct):
    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: str | None
    stop_reason: str | UnsetType = UNSET


class Answer(Struct):
    id: str
    object: str
    created: int
    model: str
    choices: list[ChatChoice] | list[TextChoice]
    usage: Usage
    system_fingerprint: str | None = None


class Chunk(Struct):
    id: str
    object: str
    created: int
    model: str
    choices: list[ChatChunkChoice] | list[TextChoice]
    usage: Usage | UnsetType | None = UNSET


class Shape(Protocol):
    """How an endpoint writes what was generated."""

    def opening(self, index: int) -> bytes:
        """The event before the first of a choice; empty if there is none."""

    def event(self, piece: Piece) -> bytes: ...

    def usage_event(self, usage: Usage) -> bytes: ...

    def answer(self, pieces: list[Piece], usage: Usage) -> bytes:
        """Everything at once; a whole piece for each choice, in order."""


class Head(Struct, frozen=True):
    """What all parts of one answer share."""

    id: str
    created: int
    model: str
    logprobs: int | None
    """Alternatives a token; None for no log-probabilities."""
    include_usage: bool


class ChatShape:
    """``/v1/chat/completions``."""

    def __init__(self, head: Head, vocabulary: Vocabulary) -> None:
        self._head = head
        self._vocabulary = vocabulary

    def opening(self, index: int) -> bytes:
        return self._chunk([ChatChunkChoice(index, Delta("assistant", ""))])

    def event(self, piece: Piece) -> bytes:
        delta = Delta(content=piece.text) if piece.text else Delta()
        return self._chunk(
            [ChatChunkChoice(piece.index, delta, self._logprobs(piece), piece.finish, piece.stop or UNSET)]
        )

    def usage_event(self, usage: Usage) -> bytes:
        return _event(_chunk(self._head, "chat.completion.chunk", [], usage))

    def answer(self, pieces: list[Piece], usage: Usage) -> bytes:
        choices = [
            ChatChoice(
                piece.index,
                ChatMessage("assistant", piece.text),
                self._logprobs(piece),
                piece.finish or "stop",
                piece.stop or UNSET,
            )
            for piece in pieces
        ]
        head = self._head
        return msgspec.json.encode(Answer(head.id, "chat.completion", head.created, head.model, choices, usage))

    def _chunk(self, choices: list[ChatChunkChoice]) -> bytes:
        return _event(_chunk(self._head, "chat.completion.chunk", choices))

    def _logprobs(self, piece: Piece) -> ChatLogprobs | None:
        top = self._head.logprobs
        if top is None:
            return None
        return ChatLogprobs(
            [self._content(token, logprob, top) for token, logprob in zip(piece.tokens, piece.logprobs, strict=True)]
        )

    def _content(self, token: int, logprob: float, top: int) -> ContentLogprob:
        name = self._vocabulary.name(token)
        raw = list(self._vocabulary.pieces[token])
        return ContentLogprob(name, logprob, raw, [TokenLogprob(name, logprob, raw)] if top else [])


class TextShape:
    """``/v1/completions``."""

    def __init__(self, head: Head, vocabulary: Vocabulary) -> None:
        self._head = head
        self._vocabulary = vocabulary
        self._offsets: dict[int, int] = {}

    def opening(self, index: int) -> bytes:
        return b""

    def event(self, piece: Piece) -> bytes:
        return _event(_chunk(self._head, "text_completion", [self._choice(piece)]))

    def usage_event(self, usage: Usage) -> bytes:
        return _event(_chunk(self._head, "text_completion", [], usage))

    def answer(self, pieces: list[Piece], usage: Usage) -> bytes:
        choices = [self._choice(piece) for piece in pieces]
        head = self._head
        return msgspec.json.encode(Answer(head.id, "text_completion", head.created, head.model, choices, usage))

    def _choice(self, piece: Piece) -> TextChoice:
        return TextChoice(piece.index, piece.text, self._logprobs(piece), piece.finish, piece.stop or UNSET)

    def _logprobs(self, piece: Piece) -> TextLogprobs | None:
        top = self._head.logprobs
        if top is None:
            return None
        names = [self._vocabulary.name(token) for token in piece.tokens]
        offsets = []
        for token in piece.tokens:
            offset = self._offsets.get(piece.index, 0)
            offsets.append(offset)
            self._offsets[piece.index] = offset + len(self._vocabulary.bytes(token).decode(errors="ignore"))
        alternatives = [{name: value} for name, value in zip(names, piece.logprobs, strict=True)] if top else None
        return TextLogprobs(names, piece.logprobs, alternatives, offsets)


def _chunk(
    head: Head, kind: str, choices: list[ChatChunkChoice] | list[TextChoice], usage: Usage | None = None
) -> Chunk:
    """With ``include_usage`` every event has the field, null until the last."""
    return Chunk(head.id, kind, head.created, head.model, choices, usage if head.include_usage else UNSET)


def _event(chunk: Chunk) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(chunk)

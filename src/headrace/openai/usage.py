"""The ``usage`` of answers and stream events, read without decoding the rest."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct


class PromptDetails(Struct, gc=False):
    cached_tokens: int | None = None


class CompletionDetails(Struct, gc=False):
    reasoning_tokens: int | None = None


class Usage(Struct, gc=False):
    """Token counts as the engine tells them."""

    prompt_tokens: int = 0
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None

    @property
    def output(self) -> int:
        """Tokens that were generated; 0 where the endpoint generates none."""
        return self.completion_tokens or 0

    @property
    def cached(self) -> int:
        """Prompt tokens that came from a cache."""
        details = self.prompt_tokens_details
        return 0 if details is None else details.cached_tokens or 0

    @property
    def reasoning(self) -> int:
        """Tokens among ``output`` that were not meant for the reader."""
        details = self.completion_tokens_details
        return 0 if details is None else details.reasoning_tokens or 0


class Answer(Struct, gc=False):
    """The part of an answer or of an event's data that is metered."""

    usage: Usage | None = None
    choices: Raw = Raw(b"null")

    @property
    def only_usage(self) -> bool:
        """Whether this is the event that ``include_usage`` asked for, and carries nothing else (its choices are [])."""
        return self.usage is not None and b"".join(bytes(self.choices).split()) == b"[]"


_decoder = msgspec.json.Decoder(Answer)
_MARK = b'"usage"'  # inside a JSON string it would read \"usage\"


def read(data: bytes) -> Answer | None:
    """The usage in an answer's body or in one event's data; None where there is none, or no readable one."""
    if _MARK not in data:
        return None
    try:
        answer = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if answer.usage is None else answer


def read_tail(tail: bytes) -> Usage | None:
    """The usage out of the last bytes of a large answer, where engines put it."""
    start = tail.rfind(_MARK)
    if start < 0:
        return None
    found = read(b"{" + tail[start:])
    return None if found is None else found.usage


class _Error(Struct, gc=False):
    code: str | int | None = None
    type: str | None = None


class _ErrorAnswer(Struct, gc=False):
    error: _Error | None = None


def error_code(body: bytes) -> str:
    """The code of an error's body, for logs; ``error`` where it has none."""
    try:
        error = msgspec.json.decode(body, type=_ErrorAnswer).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "error"
    return str(error.code or error.type or "error") if error is not None else "error"

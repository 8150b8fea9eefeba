"""Chat completions as workers answer them, whole or in chunks: the part that other dialects are made of."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from headrace.errors import BadGateway, ProtocolError
from headrace.openai.usage import Usage

DONE = b"[DONE]"


class CallFunction(Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class Call(Struct, gc=False):
    """A tool call, or a piece of the one at ``index``."""

    index: int = 0
    id: str | None = None
    function: CallFunction | None = None


class Said(Struct, gc=False):
    """A message or a delta."""

    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    """What vLLM called ``reasoning`` before; other engines still do."""
    tool_calls: list[Call] | None = None

    @property
    def thought(self) -> str:
        return self.reasoning or self.reasoning_content or ""

    @property
    def text(self) -> str:
        return self.content or self.refusal or ""


class TopLogprob(Struct, gc=False):
    token: str
    logprob: float
    bytes: list[int] | None = None


class Logprob(TopLogprob, gc=False):
    top_logprobs: list[TopLogprob] = []


class Logprobs(Struct, gc=False):
    content: list[Logprob] | None = None


class Choice(Struct, gc=False):
    index: int = 0
    message: Said | None = None
    delta: Said | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    """vLLM's: the stop string or token that ended it; None at the end of the turn."""
    logprobs: Logprobs | None = None


class WorkerError(Struct, gc=False):
    message: str = "The worker could not finish its answer."
    code: str | int | None = None
    param: str | None = None


class ChatAnswer(Struct, gc=False):
    id: str = ""
    model: str = ""
    created: int = 0
    choices: list[Choice] = []
    usage: Usage | None = None
    error: WorkerError | None = None

    @property
    def choice(self) -> Choice | None:
        """The first one: the dialects know of no others."""
        return next((choice for choice in self.choices if choice.index == 0), None)

    @property
    def name(self) -> str:
        """The id without the prefix that says what it is the id of."""
        return self.id.removeprefix("chatcmpl-")


_decoder = msgspec.json.Decoder(ChatAnswer)


def read_answer(body: bytes) -> tuple[ChatAnswer, Choice, Said]:
    """A whole answer, its choice and its message. Raises BadGateway where there is none."""
    try:
        answer = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = ChatAnswer()
    choice = answer.choice
    if choice is None or choice.message is None:
        raise BadGateway("The worker's answer is not a chat completion.")
    return answer, choice, choice.message


def read_events(events: bytes) -> Iterator[ChatAnswer | None]:
    """The chunks in whole events of a stream, and None for its end. Raises ProtocolError."""
    for line in events.splitlines():
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == DONE:
            yield None
            continue
        try:
            yield _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ProtocolError("an event of the stream is not a chunk of a chat completion") from None


def read_error(body: bytes) -> WorkerError:
    """The error in an answer of a router or worker, or one that says nothing."""
    try:
        error = _decoder.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = None
    return error or WorkerError()

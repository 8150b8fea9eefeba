"""``POST /v1/messages``: from a chat completion, whole or in chunks, to Anthropic's message."""

from __future__ import annotations

import msgspec

from headrace.api.dialects.anthropic import AnthropicDialect
from headrace.api.dialects.conversation import INVALID_JSON
from headrace.errors import BadGateway, ProtocolError
from headrace.openai import usage
from headrace.openai.answer import Call, ChatAnswer, Choice, Said, read_answer, read_events
from headrace.openai.message import (
    ContentBlock,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Stop,
    StopReason,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    TokenCount,
    ToolUseBlock,
    Usage,
    event,
)
from headrace.openai.translator import Translator

_STOP_REASONS: dict[str, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


class _Open(msgspec.Struct):
    """The block that is being written."""

    kind: type[ContentBlock]
    call: int = -1
    """Which tool call it is."""


class _Pending(msgspec.Struct):
    """A tool call whose name did not come yet."""

    id: str = ""
    arguments: str = ""


class MessageTranslator(AnthropicDialect, Translator):
    """One message. Blocks of a stream follow each other, never two at a time."""

    __slots__ = ("_blocks", "_calls", "_finish", "_open", "_pending", "_started", "_stop_reason", "_stops", "_usage")

    def __init__(self, stops: list[str]) -> None:
        """``stops`` are the client's stop sequences."""
        self._stops = stops
        self._blocks = 0
        self._calls: set[int] = set()
        self._finish: str | None = None
        self._stop_reason: int | str | None = None
        self._open: _Open | None = None
        self._pending: dict[int, _Pending] = {}
        self._started = False
        self._usage: usage.Usage | None = None

    def answer(self, body: bytes) -> bytes:
        answer, choice, said = read_answer(body)
        stop = self._stop(choice.finish_reason, choice.stop_reason, bool(said.tool_calls))
        message = _message(answer, _content(answer, said), Usage.of(answer.usage))
        message.stop_reason, message.stop_sequence = stop.stop_reason, stop.stop_sequence
        return msgspec.json.encode(message)

    def on_events(self, events: bytes) -> bytes:
        return b"".join(self._chunk(chunk) if chunk is not None else self._end() for chunk in read_events(events))

    def _chunk(self, chunk: ChatAnswer) -> bytes:
        if chunk.error is not None:
            return self.broken(BadGateway(chunk.error.message))
        out = b""
        if not self._started:
            self._started = True
            out = event(MessageStart(_message(chunk, [], Usage.of(chunk.usage))))
        if chunk.usage is not None:
            self._usage = chunk.usage
        choice = chunk.choice
        if choice is not None:
            out += self._delta(chunk, choice)
        return out

    def _delta(self, chunk: ChatAnswer, choice: Choice) -> bytes:
        out = b""
        said = choice.delta or Said()
        if said.thought:
            out += self._enter(ThinkingBlock()) + self._write(ThinkingDelta(said.thought))
        if said.text:
            out += self._enter(TextBlock()) + self._write(TextDelta(said.text))
        for call in said.tool_calls or ():
            out += self._call(chunk, call)
        if choice.finish_reason is not None:
            self._finish, self._stop_reason = choice.finish_reason, choice.stop_reason
        return out

    def _call(self, chunk: ChatAnswer, call: Call) -> bytes:
        """A piece of a tool call; what comes before its name is kept back, since a block begins with it."""
        name = (call.function.name if call.function is not None else None) or ""
        arguments = (call.function.arguments if call.function is not None else None) or ""
        if call.index in self._calls:
            if self._open is None or self._open.call != call.index:
                raise ProtocolError("a tool call goes on after another one began")
            return self._write(InputJsonDelta(arguments)) if arguments else b""
        pending = self._pending.setdefault(call.index, _Pending())
        pending.id = pending.id or call.id or ""
        pending.arguments += arguments
        if not name:
            return b""
        del self._pending[call.index]
        self._calls.add(call.index)
        out = self._enter(ToolUseBlock(pending.id or _call_id(chunk, call.index), name), call.index)
        return out + (self._write(InputJsonDelta(pending.arguments)) if pending.arguments else b"")

    def _enter(self, block: ContentBlock, call: int = -1) -> bytes:
        """Begin ``block``, unless one of its kind is open."""
        if self._open is not None and self._open.kind is type(block) and self._open.call == call:
            return b""
        out = self._leave()
        self._open = _Open(type(block), call)
        return out + event(ContentBlockStart(self._blocks, block))

    def _leave(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        self._blocks += 1
        return event(ContentBlockStop(self._blocks - 1))

    def _write(self, delta: TextDelta | ThinkingDelta | InputJsonDelta) -> bytes:
        return event(ContentBlockDelta(self._blocks, delta))

    def _end(self) -> bytes:
        if not self._started:
            raise ProtocolError("the stream has an end, but nothing before it")
        stop = self._stop(self._finish, self._stop_reason, bool(self._calls))
        return self._leave() + event(MessageDelta(stop, Usage.of(self._usage))) + event(MessageStop())

    def _stop(self, finish: str | None, reason: int | str | None, calls: bool) -> Stop:
        if finish == "stop" and isinstance(reason, str) and reason in self._stops:
            return Stop("stop_sequence", reason)
        if calls and finish == "stop":
            return Stop("tool_use", None)
        return Stop(_STOP_REASONS.get(finish or "", "end_turn"), None)


class CountTranslator(AnthropicDialect, Translator):
    """From ``/tokenize`` to ``/v1/messages/count_tokens``."""

    __slots__ = ()

    def answer(self, body: bytes) -> bytes:
        try:
            count = msgspec.json.decode(body, type=_Counted).count
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadGateway("The worker's answer is not a count of tokens.") from None
        return msgspec.json.encode(TokenCount(count))


class _Counted(msgspec.Struct):
    count: int


def _message(answer: ChatAnswer, content: list[ContentBlock], used: Usage) -> Message:
    return Message(f"msg_{answer.name}", answer.model, content, None, None, used)


def _content(answer: ChatAnswer, said: Said) -> list[ContentBlock]:
    content: list[ContentBlock] = []
    if said.thought:
        content.append(ThinkingBlock(said.thought))
    if said.text:
        content.append(TextBlock(said.text))
    for index, call in enumerate(said.tool_calls or ()):
        if call.function is None or not call.function.name:
            raise BadGateway("The worker's answer has a tool call without a name.")
        name, arguments = call.function.name, call.function.arguments
        content.append(ToolUseBlock(call.id or _call_id(answer, index), name, _input(arguments)))
    return content


def _input(arguments: str | None) -> msgspec.Raw:
    """What the model wrote need not be JSON, least of all where it was cut off."""
    text = arguments or "{}"
    try:
        is_object = isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        is_object = False
    return msgspec.Raw(text.encode() if is_object else msgspec.json.encode({INVALID_JSON: text}))


def _call_id(answer: ChatAnswer, index: int) -> str:
    return f"toolu_{answer.name}_{index}"

"""Anthropic's Messages API: what a client gets. https://docs.anthropic.com/en/api/messages-streaming"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Raw, Struct

from headrace.openai import usage

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"]


class TextBlock(Struct, tag_field="type", tag="text", gc=False):
    text: str = ""


class ThinkingBlock(Struct, tag_field="type", tag="thinking", gc=False):
    thinking: str = ""
    signature: str = ""


class ToolUseBlock(Struct, tag_field="type", tag="tool_use", gc=False):
    id: str
    name: str
    input: Raw = Raw(b"{}")


ContentBlock = TextBlock | ThinkingBlock | ToolUseBlock


class Usage(Struct, gc=False):
    """Tokens; those that came from a cache are not among ``input_tokens``."""

    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0

    @classmethod
    def of(cls, told: usage.Usage | None) -> Usage:
        """From the engine's counts."""
        if told is None:
            return cls()
        return cls(max(0, told.prompt_tokens - told.cached), 0, told.cached, told.output)


class Message(Struct, tag_field="type", tag="message", gc=False):
    id: str
    model: str
    content: list[ContentBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: Usage
    role: Literal["assistant"] = "assistant"


class MessageStart(Struct, tag_field="type", tag="message_start", gc=False):
    message: Message


class ContentBlockStart(Struct, tag_field="type", tag="content_block_start", gc=False):
    index: int
    content_block: ContentBlock


class TextDelta(Struct, tag_field="type", tag="text_delta", gc=False):
    text: str


class ThinkingDelta(Struct, tag_field="type", tag="thinking_delta", gc=False):
    thinking: str


class InputJsonDelta(Struct, tag_field="type", tag="input_json_delta", gc=False):
    partial_json: str


class ContentBlockDelta(Struct, tag_field="type", tag="content_block_delta", gc=False):
    index: int
    delta: TextDelta | ThinkingDelta | InputJsonDelta


class ContentBlockStop(Struct, tag_field="type", tag="content_block_stop", gc=False):
    index: int


class Stop(Struct, gc=False):
    stop_reason: StopReason
    stop_sequence: str | None


class MessageDelta(Struct, tag_field="type", tag="message_delta", gc=False):
    delta: Stop
    usage: Usage


class MessageStop(Struct, tag_field="type", tag="message_stop", gc=False):
    pass


class ErrorDetail(Struct, gc=False):
    type: str
    message: str


class Error(Struct, tag_field="type", tag="error", gc=False):
    error: ErrorDetail


class TokenCount(Struct, gc=False):
    input_tokens: int


Event = MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop | Error

_encoder = msgspec.json.Encoder()


def event(content: Event) -> bytes:
    """A whole server-sent event."""
    return b"event: %b\ndata: %b\n\n" % (str(content.__struct_config__.tag).encode(), _encoder.encode(content))

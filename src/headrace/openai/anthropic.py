"""Anthropic's Messages API: what a client may send. https://docs.anthropic.com/en/api/messages"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from headrace.openai.request import Count, Fields, Index

Role = Literal["user", "assistant", "system"]


class Base64Source(Struct, tag_field="type", tag="base64", gc=False):
    data: str
    media_type: str


class UrlSource(Struct, tag_field="type", tag="url", gc=False):
    url: str


class FileSource(Struct, tag_field="type", tag="file", gc=False):
    file_id: str


class TextSource(Struct, tag_field="type", tag="text", gc=False):
    data: str


class Text(Struct, tag_field="type", tag="text", gc=False):
    text: str


class Image(Struct, tag_field="type", tag="image", gc=False):
    source: Base64Source | UrlSource | FileSource


class ContentSource(Struct, tag_field="type", tag="content", gc=False):
    content: str | list[Text | Image]


class Document(Struct, tag_field="type", tag="document", gc=False):
    source: TextSource | ContentSource | Base64Source | UrlSource | FileSource
    title: str | None = None
    context: str | None = None


class SearchResult(Struct, tag_field="type", tag="search_result", gc=False):
    source: str
    title: str
    content: list[Text]


class Thinking(Struct, tag_field="type", tag="thinking", gc=False):
    thinking: str


class RedactedThinking(Struct, tag_field="type", tag="redacted_thinking", gc=False):
    data: str


class ToolUse(Struct, tag_field="type", tag="tool_use", gc=False):
    id: str
    name: str
    input: dict[str, Any]


ResultBlock = Text | Image | Document | SearchResult


class ToolResult(Struct, tag_field="type", tag="tool_result", gc=False):
    tool_use_id: str
    content: str | list[ResultBlock] | None = None
    is_error: bool | None = None


Block = Text | Image | Document | SearchResult | Thinking | RedactedThinking | ToolUse | ToolResult


class Message(Struct, gc=False):
    role: Role
    content: str | list[Block]


class Tool(Struct, gc=False):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(Struct, gc=False):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingConfig(Struct, gc=False):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]


class OutputFormat(Struct, gc=False):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Struct, gc=False):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class Metadata(Struct, gc=False):
    user_id: str | None = None


class PromptFields(Fields, kw_only=True, gc=False):
    """What makes the prompt: all that is counted by ``/v1/messages/count_tokens``."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    system: str | list[Text] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None


class MessagesFields(PromptFields, kw_only=True, gc=False):
    max_tokens: Count
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Index | None = None
    metadata: Metadata | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None


CHOICES = {
    "role": ("user", "assistant", "system"),
    "content.type": (
        "text",
        "image",
        "document",
        "search_result",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "tool_result",
    ),
    "content.content.type": ("text", "image", "document", "search_result"),
    "source.content.type": ("text", "image"),
    "system.type": ("text",),
    "source.type": ("base64", "url", "text", "content"),
    "tool_choice.type": ("auto", "any", "tool", "none"),
    "thinking.type": ("enabled", "disabled", "adaptive", "between_tools"),
    "format.type": ("json_schema",),
    "output_format.type": ("json_schema",),
    "effort": ("low", "medium", "high", "xhigh", "max"),
}
"""For the messages of errors, as ``document.convert`` takes them."""

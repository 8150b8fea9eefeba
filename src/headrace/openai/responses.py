"""``POST /v1/responses``: what a client may send. https://platform.openai.com/docs/api-reference/responses/create"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from headrace.openai.request import Count, Fields, Index

Role = Literal["user", "assistant", "system", "developer"]
PartType = Literal[
    "input_text", "output_text", "refusal", "input_image", "input_file", "reasoning_text", "summary_text"
]
ItemType = Literal["message", "function_call", "function_call_output", "reasoning", "item_reference"]


class Part(Struct, gc=False):
    type: PartType
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None


class Item(Struct, gc=False):
    """One of ``input``. A message may leave its type out."""

    type: ItemType = "message"
    role: Role | None = None
    content: str | list[Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[Part] | None = None
    summary: list[Part] | None = None


class Tool(Struct, gc=False):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(Struct, gc=False):
    type: str
    name: str | None = None


class Format(Struct, gc=False):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class TextConfig(Struct, gc=False):
    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Struct, gc=False):
    effort: str | None = None
    summary: str | None = None


class ResponsesFields(Fields, kw_only=True, gc=False):
    input: str | Annotated[list[Item], Meta(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_output_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_logprobs: Index | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Count | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    store: bool | None = None
    background: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    previous_response_id: str | None = None


CHOICES = {
    "role": ("user", "assistant", "system", "developer"),
    "input.type": ("message", "function_call", "function_call_output", "reasoning"),
    "content.type": ("input_text", "output_text", "refusal", "input_image"),
    "output.type": ("input_text", "input_image"),
    "summary.type": ("summary_text",),
    "format.type": ("text", "json_object", "json_schema"),
    "tool_choice": ("none", "auto", "required"),
    "truncation": ("disabled",),
}
"""For the messages of errors, as ``document.convert`` takes them."""

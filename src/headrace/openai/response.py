"""``POST /v1/responses``: what a client gets. https://platform.openai.com/docs/api-reference/responses/object"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Raw, Struct

from headrace.openai import usage
from headrace.openai.answer import Logprob

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class OutputText(Struct, tag_field="type", tag="output_text", gc=False):
    text: str = ""
    annotations: list[Any] = []
    logprobs: list[Logprob] = []


class ReasoningText(Struct, tag_field="type", tag="reasoning_text", gc=False):
    text: str = ""


class MessageItem(Struct, tag_field="type", tag="message", gc=False):
    id: str
    content: list[OutputText]
    status: Status
    role: Literal["assistant"] = "assistant"


class ReasoningItem(Struct, tag_field="type", tag="reasoning", gc=False):
    id: str
    content: list[ReasoningText]
    status: Status
    summary: list[Any] = []


class FunctionCallItem(Struct, tag_field="type", tag="function_call", gc=False):
    id: str
    call_id: str
    name: str
    arguments: str
    status: Status


OutputItem = MessageItem | ReasoningItem | FunctionCallItem


class InputDetails(Struct, gc=False):
    cached_tokens: int
    cache_write_tokens: int = 0


class OutputDetails(Struct, gc=False):
    reasoning_tokens: int


class Usage(Struct, gc=False):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int

    @classmethod
    def of(cls, told: usage.Usage | None) -> Usage | None:
        """From the engine's counts."""
        if told is None:
            return None
        total = told.prompt_tokens + told.output
        details = InputDetails(told.cached), OutputDetails(told.reasoning)
        return cls(told.prompt_tokens, details[0], told.output, details[1], total)


class Failure(Struct, gc=False):
    message: str
    code: Literal["server_error"] = "server_error"


class Incomplete(Struct, gc=False):
    reason: Literal["max_output_tokens", "content_filter"]


class Settings(Struct, kw_only=True):
    """What a response repeats of its request."""

    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] = {}
    parallel_tool_calls: bool = True
    reasoning: dict[str, Any] = {}
    temperature: float | None = None
    text: Raw = Raw(b"{}")
    """Written once, when it came in: what a client nests deeply must not fail on its way out."""
    tool_choice: Any = "auto"
    tools: Raw = Raw(b"[]")
    top_logprobs: int | None = None
    top_p: float | None = None
    user: str | None = None
    safety_identifier: str | None = None
    store: bool = False
    previous_response_id: str | None = None


class Response(Settings, kw_only=True):
    id: str
    model: str
    created_at: int
    """Seconds since 1970."""
    status: Status
    object: Literal["response"] = "response"
    background: bool = False
    completed_at: int | None = None
    error: Failure | None = None
    incomplete_details: Incomplete | None = None
    output: list[OutputItem] = []
    service_tier: Literal["default"] = "default"
    truncation: Literal["disabled"] = "disabled"
    usage: Usage | None = None

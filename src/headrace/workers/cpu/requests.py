"""What clients may ask for. Unknown fields are ignored: the gateway has judged them already."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, get_args

from msgspec import Meta, Struct

from headrace.errors import InvalidRequest
from headrace.openai.document import convert, decode
from headrace.openai.request import Count, Index, Penalty, Prompt, Seed, StreamOptions, TokenId
from headrace.workers.cpu.chat import Message, PartType, Role

MAX_SEQUENCES = 16
"""Prompts times ``n``."""
MAX_STOPS = 16
MAX_STOP_LENGTH = 1024

_CHOICES = {"role": get_args(Role), "type": get_args(PartType)}

T = TypeVar("T", bound="_Request")


class _Request(Struct, kw_only=True):
    model: str | None = None


class _Generation(_Request, kw_only=True):
    """What both endpoints have in common."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    min_tokens: Index | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_SEQUENCES)] | None = None
    best_of: Count | None = None
    stop: str | list[str] | None = None
    seed: Seed | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, lt=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    ignore_eos: bool | None = None
    add_special_tokens: bool | None = None
    logit_bias: dict[str, float] | None = None
    prompt_logprobs: int | None = None
    stop_token_ids: list[TokenId] | None = None

    @property
    def stops(self) -> list[str]:
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage is True


class ChatRequest(_Generation, kw_only=True):
    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Index | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None


class CompletionRequest(_Generation, kw_only=True):
    prompt: Prompt
    logprobs: Index | None = None
    echo: bool | None = None
    suffix: str | None = None


class TokenizeRequest(_Request, kw_only=True):
    """Either ``prompt`` or ``messages``, as vLLM has it."""

    prompt: str | None = None
    messages: Annotated[list[Message], Meta(min_length=1)] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    return_token_strs: bool | None = None


class DetokenizeRequest(_Request, kw_only=True):
    tokens: list[TokenId]


def parse(body: bytes, kind: type[T]) -> T:
    """Raises InvalidRequest, naming the field at fault."""
    return convert(decode(body), kind, _CHOICES)


def refuse(request: _Generation) -> None:
    """Raises InvalidRequest for what this engine cannot do: an answer without it would be a wrong one."""
    asked = {
        "tools": getattr(request, "tools", None) and getattr(request, "tool_choice", None) != "none",
        "response_format": (getattr(request, "response_format", None) or {}).get("type", "text") != "text",
        "logit_bias": request.logit_bias,
        "prompt_logprobs": request.prompt_logprobs is not None,
        "stop_token_ids": request.stop_token_ids,
        "echo": getattr(request, "echo", None),
        "suffix": getattr(request, "suffix", None),
        "best_of": request.best_of is not None and request.best_of != (request.n or 1),
    }
    for name, value in asked.items():
        if value:
            raise InvalidRequest(f"{name}: is not supported by this worker; leave it out.", param=name)

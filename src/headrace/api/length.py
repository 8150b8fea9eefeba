"""Prompts that are too long: refused before they wait for a worker, where that is certain.

From the bytes alone only what no tokenizer could fit is refused. Near the limit the model's own tokenizer decides. All
else is left to the worker, whose refusal is given OpenAI's code, also where an engine calls it a defect of its own.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from headrace.api.cost import Cost
from headrace.api.fleet import PoolView
from headrace.api.inside import Inside
from headrace.api.prefix import PromptText
from headrace.api.record import Record
from headrace.errors import InvalidRequest
from headrace.openai.chat import ChatRequest
from headrace.openai.completion import CompletionRequest
from headrace.openai.document import encode
from headrace.openai.request import GenerationRequest, Request

CODE = "context_length_exceeded"

_TOKEN_BYTES = 128
"""No token of a usual vocabulary stands for more bytes (the longest are runs of white space)."""
_NEAR = 0.8
"""From this part of the context on, an estimate may be wrong about which side of the limit a prompt is on."""
_TEMPLATE = ("messages", "tools", "chat_template_kwargs", "add_generation_prompt", "continue_final_message")

_SUBJECT = re.compile(
    rb"(?:context|prompt|input|sequence)[ _](?:length|window|size)|max_(?:model|seq|input)_len|max_num_tokens"
    rb"|prompt is|tokens of context",
    re.IGNORECASE,
)
_COMPLAINT = re.compile(
    rb"exceed|too (?:long|large)|(?:longer|larger|greater|more) than|maximum context", re.IGNORECASE
)
"""Together: what vLLM, TensorRT-LLM, llama.cpp and text-embeddings-inference say of a prompt that is too long."""
_MESSAGE = re.compile(rb'"(?:message|detail|error)"\s*:\s*"((?:[^"\\]|\\.)*)"')


class _Count(msgspec.Struct):
    count: int


class Length:
    """Checks the length of a prompt against a model's context."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    @staticmethod
    def is_near(pool: PoolView, cost: Cost) -> bool:
        """Whether ``check`` could find anything; False is certain enough for all that is short."""
        return 0 < pool.context * _NEAR < cost.prompt

    async def check(self, pool: PoolView, request: Request[Any], text: PromptText, record: Record) -> None:
        """Raises InvalidRequest for a prompt that the model cannot take."""
        if text.media or not isinstance(request, GenerationRequest) or _has_many(request):
            return
        least = -(-len(text.data) // _TOKEN_BYTES)
        if least > pool.context:
            raise _too_long(pool, f"at least {least:,}", request)
        counted = await self._count(pool, request, record)
        if counted is not None and counted + (request.output_cap or 1) > pool.context:
            raise _too_long(pool, f"{counted:,}", request)

    async def _count(self, pool: PoolView, request: GenerationRequest[Any], record: Record) -> int | None:
        """As the model's tokenizer counts; None where it does not say."""
        if isinstance(request, ChatRequest):
            body = {name: request.document[name] for name in _TEMPLATE if name in request.document}
        elif isinstance(request, CompletionRequest) and isinstance(request.fields.prompt, str):
            body = {"prompt": request.fields.prompt}
        else:
            return None
        name = pool.base or pool.name
        answer = await self._inside.ask(
            name,
            "/tokenize",
            encode({"model": name, **body}),
            tenant=record.tenant,
            request_id=f"{record.id}-tokenize",
        )
        if answer is None or answer.status != 200:
            return None
        try:
            return msgspec.json.decode(answer.body, type=_Count).count
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


def worker_refusal(status: int, body: bytes) -> InvalidRequest | None:
    """An engine's 400 or 500 that is about length, in OpenAI's words; None for any other answer."""
    if status not in {400, 413, 422, 500} or _SUBJECT.search(body) is None or _COMPLAINT.search(body) is None:
        return None
    said = _MESSAGE.search(body)
    try:
        message = msgspec.json.decode(b'"%b"' % said[1], type=str) if said else ""
    except msgspec.DecodeError:
        message = ""
    return InvalidRequest(message or "The prompt is too long for this model; shorten it.", param="messages", code=CODE)


def _has_many(request: GenerationRequest[Any]) -> bool:
    """Whether the request holds several prompts, each of which has the context to itself."""
    return isinstance(request, CompletionRequest) and not isinstance(request.fields.prompt, str)


def _too_long(pool: PoolView, tokens: str, request: GenerationRequest[Any]) -> InvalidRequest:
    cap = request.output_cap
    more = f" and up to {cap:,} of output were asked for" if cap else ""
    return InvalidRequest(
        f"This model's maximum context length is {pool.context:,} tokens, but the prompt has {tokens}{more}. "
        "Shorten the prompt" + (", or ask for less output." if cap else "."),
        param="messages" if isinstance(request, ChatRequest) else "prompt",
        code=CODE,
    )

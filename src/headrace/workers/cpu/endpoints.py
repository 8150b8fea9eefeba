"""The traffic port: OpenAI's endpoints as vLLM serves them."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from headrace.errors import InvalidRequest, NotFound
from headrace.wire.contract import REQUEST_ID
from headrace.wire.exchange import EVENT_STREAM
from headrace.workers.cpu.generation import EngineLost, Generation, Piece
from headrace.workers.cpu.requests import (
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    TokenizeRequest,
    parse,
)
from headrace.workers.cpu.shapes import DONE, ChatShape, Head, Shape, TextShape, Usage

if TYPE_CHECKING:
    from headrace.wire.exchange import Exchange
    from headrace.workers.cpu.app import CpuWorker
    from headrace.workers.cpu.plan import Plan

JSON = ((b"content-type", b"application/json"),)
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class ModelCard(Struct):
    id: str
    created: int
    max_model_len: int
    object: str = "model"
    owned_by: str = "headrace"
    root: str = ""
    parent: None = None


class ModelList(Struct):
    data: list[ModelCard]
    object: str = "list"


class Tokens(Struct):
    """vLLM's answer to ``/tokenize``."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class Text(Struct):
    """vLLM's answer to ``/detokenize``."""

    prompt: str


class Endpoints:
    """Handlers of one worker."""

    def __init__(self, worker: CpuWorker) -> None:
        self._worker = worker
        self._created = int(time.time())

    def register(self) -> None:
        route = self._worker.route
        route("POST", "/v1/chat/completions", self.chat)
        route("POST", "/v1/completions", self.completion)
        route("GET", "/v1/models", self.models)
        route("POST", "/tokenize", self.tokenize)
        route("POST", "/detokenize", self.detokenize)

    async def chat(self, exchange: Exchange) -> None:
        self._worker.admit()
        request = parse(exchange.request.body, ChatRequest)
        self._check_model(request.model)
        plan = self._worker.planner.chat(request)
        alternatives = (request.top_logprobs or 0) if request.logprobs else None
        head = self._head(exchange, "chatcmpl", alternatives, request.include_usage)
        await self._answer(exchange, plan, ChatShape(head, self._worker.vocabulary), head, request.stream is True)

    async def completion(self, exchange: Exchange) -> None:
        self._worker.admit()
        request = parse(exchange.request.body, CompletionRequest)
        self._check_model(request.model)
        plan = self._worker.planner.completion(request)
        head = self._head(exchange, "cmpl", request.logprobs, request.include_usage)
        await self._answer(exchange, plan, TextShape(head, self._worker.vocabulary), head, request.stream is True)

    async def models(self, exchange: Exchange) -> None:
        name = self._worker.model
        card = ModelCard(name, self._created, self._worker.planner.context, root=name)
        exchange.respond(200, JSON, msgspec.json.encode(ModelList([card])))

    async def tokenize(self, exchange: Exchange) -> None:
        request = parse(exchange.request.body, TokenizeRequest)
        self._check_model(request.model)
        tokens = self._worker.planner.tokens(request)
        names = [self._worker.vocabulary.name(token) for token in tokens] if request.return_token_strs else None
        answer = Tokens(len(tokens), self._worker.planner.context, tokens, names)
        exchange.respond(200, JSON, msgspec.json.encode(answer))

    async def detokenize(self, exchange: Exchange) -> None:
        request = parse(exchange.request.body, DetokenizeRequest)
        self._check_model(request.model)
        size = len(self._worker.vocabulary)
        if request.tokens and max(request.tokens) >= size:
            raise InvalidRequest(f"tokens: ids go to {size - 1}, not {max(request.tokens)}.", param="tokens")
        exchange.respond(200, JSON, msgspec.json.encode(Text(self._worker.planner.tokenizer.decode(request.tokens))))

    def _check_model(self, model: str | None) -> None:
        if model is not None and model != self._worker.model:
            raise NotFound(
                f"The model {model!r} does not exist here; this worker serves {self._worker.model}.",
                param="model",
                code="model_not_found",
            )

    def _head(self, exchange: Exchange, kind: str, logprobs: int | None, include_usage: bool) -> Head:
        given = exchange.request.headers.get(REQUEST_ID, b"")
        name = given.decode() if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
        return Head(f"{kind}-{name}", int(time.time()), self._worker.model, logprobs, include_usage)

    async def _answer(self, exchange: Exchange, plan: Plan, shape: Shape, head: Head, stream: bool) -> None:
        generation = Generation(self._worker.scheduler, self._worker.vocabulary, plan)
        try:
            if stream:
                await _stream(exchange, generation, shape, head)
            else:
                await _whole(exchange, generation, shape)
        except EngineLost:
            exchange.abort()  # as if this process had died: the router may try another worker
        finally:
            generation.close()


async def _stream(exchange: Exchange, generation: Generation, shape: Shape, head: Head) -> None:
    opened: set[int] = set()
    async for piece in generation.pieces():
        if not exchange.started:  # no status line before the first token, so that a router may still go elsewhere
            exchange.start(200, EVENT_STREAM)
        opening = b"" if piece.index in opened else shape.opening(piece.index)
        opened.add(piece.index)
        exchange.write(opening + shape.event(piece))
        if not exchange.writable:
            await exchange.drain()
    if head.include_usage:
        exchange.write(shape.usage_event(_usage(generation)))
    exchange.write(DONE)
    exchange.finish()


async def _whole(exchange: Exchange, generation: Generation, shape: Shape) -> None:
    wholes = [Piece(choice.index, "", [], [], None) for choice in generation.choices]
    texts: list[list[str]] = [[] for _ in wholes]
    async for piece in generation.pieces():
        whole = wholes[piece.index]
        texts[piece.index].append(piece.text)
        whole.tokens += piece.tokens
        whole.logprobs += piece.logprobs
        whole.finish, whole.stop = piece.finish, piece.stop
    for whole, parts in zip(wholes, texts, strict=True):
        whole.text = "".join(parts)
    exchange.respond(200, JSON, shape.answer(wholes, _usage(generation)))


def _usage(generation: Generation) -> Usage:
    prompt, completion = generation.prompt_tokens, generation.completion_tokens
    return Usage(prompt, completion, prompt + completion)

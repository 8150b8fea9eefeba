"""bert-worker as a service: its endpoints, its load, its start and end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import msgspec

from headrace.config import BertWorkerSettings
from headrace.errors import ApiError, Overloaded
from headrace.service import run
from headrace.wire.exchange import Exchange
from headrace.workers.bert import folder, requests
from headrace.workers.bert.backend import Backend
from headrace.workers.bert.engine import Call, Engine
from headrace.workers.bert.folder import ModelFolder
from headrace.workers.bert.metrics import BertMetrics
from headrace.workers.bert.openvino import OpenVinoBackend
from headrace.workers.bert.requests import EmbeddingBody, Inputs
from headrace.workers.bert.tokens import Tokens
from headrace.workers.contract import Load, ServedModel, Worker

log = logging.getLogger(__name__)

JSON = [(b"content-type", b"application/json")]
_WARM_UP = "The head race is the channel that brings the stream to the wheels."
_SHORT_ROW = 16
"""Tokens of a short input: as many of these as fit the batches are what the worker can run at the same time."""

_Answer = Callable[[bytes], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class _Model:
    folder: ModelFolder
    tokens: Tokens
    engine: Engine
    max_running: int


class BertWorker(Worker):
    """Serves one encoder model."""

    name = "bert-worker"

    def __init__(
        self,
        settings: BertWorkerSettings,
        load_backend: Callable[[ModelFolder, BertWorkerSettings], Backend],
    ) -> None:
        super().__init__(settings)
        self._settings = settings
        self._load_backend = load_backend
        self._metrics = BertMetrics(self.registry)
        self._created = int(time.time())
        self._model: _Model | None = None
        self.registry.on_collect(self._collect)
        self.route("GET", "/v1/models", self._models)
        self._answer("/v1/embeddings", "embeddings", self._embed)
        self._answer("/tokenize", "tokenize", self._tokenize)
        self._answer("/detokenize", "detokenize", self._detokenize)

    async def start(self) -> None:
        """Load the model and compute one embedding. Raises ModelError or ConfigError."""
        settings = self._settings
        model_folder = await asyncio.to_thread(folder.read, settings.model)
        tokens = await asyncio.to_thread(Tokens, model_folder)
        backend = await asyncio.to_thread(self._load_backend, model_folder, settings)
        engine = Engine(
            backend,
            self._metrics,
            self.progress,
            batch_tokens=settings.batch_tokens,
            max_rows=settings.max_waiting,
        )
        max_running = backend.streams * max(1, settings.batch_tokens // _SHORT_ROW)
        self._model = _Model(model_folder, tokens, engine, max_running)
        engine.start()
        ids, _ = await tokens.encode(_WARM_UP, special=True)
        with engine.call(1) as call:
            engine.put(call, 0, ids)
            await engine.result(call)
        self.warm = True
        log.info("model loaded", extra={"model": self.model, "precision": backend.precision})

    async def close(self) -> None:
        self.warm = False
        if self._model is not None:
            await self._model.engine.close()
            self._model.tokens.close()

    def unready(self) -> str | None:
        if self._model is not None and self._model.engine.broken:
            self.failure = "the model fails on every batch; see the log"
        return super().unready()

    def snapshot(self) -> Load:
        model = self._loaded
        return Load(
            running=model.engine.running_calls,
            waiting=model.engine.waiting_calls,
            max_running=model.max_running,
            models=(ServedModel(self.model, model.folder.context, modality="embedding"),),
            epoch=self.epoch,
            queued_tokens=model.engine.waiting_tokens,
            iterations=self.progress.iterations,
            draining=self.draining,
        )

    @property
    def _loaded(self) -> _Model:
        if self._model is None:
            raise Overloaded("This worker is loading its model.", code="not_ready", retry_after=5)
        return self._model

    def _collect(self) -> None:
        if self._model is None:
            return
        engine = self._model.engine
        self._metrics.waiting_rows.set(engine.waiting_rows)
        self._metrics.waiting_tokens.set(engine.waiting_tokens)
        self._metrics.running.set(engine.running_calls)
        self._metrics.waiting.set(engine.waiting_calls)

    def _answer(self, path: str, endpoint: str, answer: _Answer) -> None:
        """Serve ``path`` with what ``answer`` makes of a body, and count it."""
        seconds = self._metrics.request_seconds.labels(endpoint)
        outcomes = self._metrics.requests

        async def handle(exchange: Exchange) -> None:
            began = time.monotonic()
            outcome = "cancelled"
            try:
                self.admit()
                exchange.respond(200, JSON, await answer(exchange.request.body))
                outcome = "ok"
            except ApiError as error:
                outcome = error.code or error.type
                raise
            finally:
                outcomes.labels(endpoint, outcome).inc()
                seconds.observe(time.monotonic() - began)

        self.route("POST", path, handle)

    async def _models(self, exchange: Exchange) -> None:
        model = requests.Model(self.model, self._created, self._loaded.folder.context)
        exchange.respond(200, JSON, msgspec.json.encode(requests.ModelList([model])))

    async def _embed(self, body: bytes) -> bytes:
        model = self._loaded
        request = requests.read(body, EmbeddingBody, self.model)
        inputs = Inputs(request.input, model.folder.network.vocab_size)
        requests.check_dimensions(request.dimensions, model.folder.dimensions)
        with model.engine.call(len(inputs)) as call:
            tokens = await _queue(model, call, inputs, truncate=request.truncate is True)
            vectors = await model.engine.result(call)
        vectors = requests.shorten(vectors, request.dimensions)
        return await requests.answer(vectors, request.encoding_format or "float", self.model, tokens)

    async def _tokenize(self, body: bytes) -> bytes:
        model = self._loaded
        request = requests.read(body, requests.TokenizeBody, self.model)
        ids, tokens = await model.tokens.encode(request.prompt, special=request.add_special_tokens)
        strings = tokens if request.return_token_strs else None
        return msgspec.json.encode(requests.TokenizeAnswer(len(ids), model.folder.context, ids, strings))

    async def _detokenize(self, body: bytes) -> bytes:
        model = self._loaded
        request = requests.read(body, requests.DetokenizeBody, self.model)
        if request.tokens:
            requests.check_ids("tokens", request.tokens, model.folder.network.vocab_size)
        return msgspec.json.encode(requests.DetokenizeAnswer(await model.tokens.decode(request.tokens)))


async def _queue(model: _Model, call: Call, inputs: Inputs, *, truncate: bool) -> int:
    """Put the rows of a call into the queue; says how many tokens they are together."""
    context = model.folder.context
    tokens = 0
    async for index, ids in _rows(model, inputs, truncate):
        inputs.check_length(index, len(ids), context)
        model.engine.put(call, index, ids)
        tokens += len(ids)
    return tokens


async def _rows(model: _Model, inputs: Inputs, truncate: bool) -> AsyncIterator[tuple[int, list[int]]]:
    for index, ids in enumerate(inputs.ids):
        yield index, ids[: model.folder.context] if truncate else ids
    index = 0
    async for piece in model.tokens.encode_many(inputs.texts, truncate=truncate):
        for ids in piece:
            yield index, ids
            index += 1


def build(settings: BertWorkerSettings) -> BertWorker:
    return BertWorker(settings, lambda model, own: OpenVinoBackend(model, own.precision))


def serve(settings: BertWorkerSettings) -> None:
    """Run bert-worker until it is told to stop."""
    run(lambda: build(settings), settings, BertWorker.name)

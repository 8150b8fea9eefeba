"""bert-worker as a service: its load, its start and end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from importlib.util import find_spec

from headrace.config import BertWorkerSettings
from headrace.errors import ApiError, ConfigError, Overloaded
from headrace.service import run
from headrace.wire.exchange import Exchange
from headrace.workers.bert import folder
from headrace.workers.bert.backend import Backend
from headrace.workers.bert.endpoints import Answer, Endpoints
from headrace.workers.bert.engine import Engine
from headrace.workers.bert.folder import ModelFolder
from headrace.workers.bert.inputs import Inputs
from headrace.workers.bert.metrics import BertMetrics
from headrace.workers.bert.model import Model
from headrace.workers.bert.requests import Options
from headrace.workers.bert.tokens import Text, Tokens
from headrace.workers.contract import Load, ServedModel, Worker

log = logging.getLogger(__name__)

JSON = [(b"content-type", b"application/json")]
_WARM_UP = "The head race is the channel that brings the stream to the wheels."
_SHORT_ROW = 16
"""Tokens of a short input: as many of these as fit the batches are what the worker can run at the same time."""


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
        self._model: Model | None = None
        self._endpoints = Endpoints(self._loaded, self.model)
        self.registry.on_collect(self._collect)
        self.route("GET", "/v1/models", self._models)
        for path, (endpoint, answer) in self._endpoints.by_path.items():
            self._answer(path, endpoint, answer)

    async def start(self) -> None:
        """Load the model and compute one row. Raises ModelError or ConfigError."""
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
        self._model = Model(model_folder, tokens, engine, max_running, backend.outputs)
        engine.start()
        text: Text = (_WARM_UP, _WARM_UP) if model_folder.task == "rerank" else _WARM_UP
        await self._model.compute(Inputs("input", [text], single=True), Options(truncate=True))
        self.warm = True
        log.info(
            "model loaded",
            extra={"model": self.model, "task": model_folder.task, "precision": backend.precision},
        )

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
        model = self._loaded()
        return Load(
            running=model.engine.running_calls,
            waiting=model.engine.waiting_calls,
            max_running=model.max_running,
            models=(ServedModel(self.model, model.folder.context, modality=model.folder.task),),
            epoch=self.epoch,
            queued_tokens=model.engine.waiting_tokens,
            iterations=self.progress.iterations,
            draining=self.draining,
        )

    def _loaded(self) -> Model:
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

    def _answer(self, path: str, endpoint: str, answer: Answer) -> None:
        """Serve ``path`` with what ``answer`` makes of a request, and count it."""
        seconds = self._metrics.request_seconds.labels(endpoint)
        outcomes = self._metrics.requests

        async def handle(exchange: Exchange) -> None:
            began = time.monotonic()
            outcome = "cancelled"
            try:
                self.admit()
                exchange.respond(200, JSON, await answer(exchange.request))
                outcome = "ok"
            except ApiError as error:
                outcome = error.code or error.type
                raise
            finally:
                outcomes.labels(endpoint, outcome).inc()
                seconds.observe(time.monotonic() - began)

        self.route("POST", path, handle)

    async def _models(self, exchange: Exchange) -> None:
        exchange.respond(200, JSON, self._endpoints.models())


def load_backend(model: ModelFolder, settings: BertWorkerSettings) -> Backend:
    """The backend that the settings choose; only its library is imported. Raises ModelError or ConfigError."""
    if settings.device == "cuda" or (settings.device == "auto" and model.encoder is not None and _has_gpu()):
        try:
            from headrace.workers.bert.cuda import CudaBackend, available  # noqa: PLC0415  a library for each device
        except ModuleNotFoundError:
            raise ConfigError("bert.device: cuda needs torch: install the extra bert-cuda, or use cpu") from None
        if not available():
            raise ConfigError("bert.device: torch finds no GPU; use cpu, or give this machine or container its GPU")
        return CudaBackend(model, settings.precision)
    try:
        from headrace.workers.bert.openvino import OpenVinoBackend  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ConfigError("bert.device: cpu needs OpenVINO: install the extra bert") from None
    return OpenVinoBackend(model, settings.precision)


def _has_gpu() -> bool:
    """Without torch, which alone could use it, there is none; asking that takes no time."""
    if find_spec("torch") is None:
        return False
    from headrace.workers.bert.cuda import available  # noqa: PLC0415

    return available()


def build(settings: BertWorkerSettings) -> BertWorker:
    return BertWorker(settings, load_backend)


def serve(settings: BertWorkerSettings) -> None:
    """Run bert-worker until it is told to stop."""
    run(lambda: build(settings), settings, BertWorker.name)

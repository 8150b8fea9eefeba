"""TensorRT-LLM as the supervisor sees it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from headrace.config import TrtWorkerSettings
from headrace.errors import ConfigError
from headrace.workers.contract import ServedModel
from headrace.workers.supervisor import Engine, Look, supervise
from headrace.workers.supervisor.ending import Ending, explain
from headrace.workers.supervisor.engine import PATIENCE
from headrace.workers.supervisor.http import EngineHttp, decode
from headrace.workers.supervisor.program import check_model, find_program
from headrace.workers.supervisor.surroundings import engine_environment
from headrace.workers.trt import facts


class _Card(msgspec.Struct):
    id: str


class _Cards(msgspec.Struct):
    data: list[_Card]


class Trt(Engine):
    """``trtllm-serve`` on the traffic port."""

    name = "trt-worker"
    grace = facts.GRACE

    def __init__(self, settings: TrtWorkerSettings) -> None:
        """Raises ConfigError or ModelError where the engine need not even be started."""
        self._settings = settings
        self._environment = engine_environment()
        self._program = find_program(settings.executable, facts.PROGRAM, self._environment["PATH"], "trt")
        self._model = settings.model.resolve()
        found = check_model(self._model, "trt")
        if (found.format == "tensorrt") != (settings.backend == "tensorrt"):
            raise ConfigError(
                f"trt.backend: {settings.backend} does not serve {found.format}: "
                "use tensorrt for a built engine, and pytorch for a Hugging Face folder"
            )
        self._context = settings.context or found.context or 0
        self._served = settings.name or self._model.name
        if "/" in self._served:
            raise ConfigError(f"trt.name: {self._served} must not hold a slash: TensorRT-LLM serves the last part only")
        # It has no API key; with a hop secret it is open to the network that the operator's policies leave.
        self._http = EngineHttp(settings.host, settings.port, settings.hop_secret, "trt")
        self.origin = self._http.origin
        self.max_running = settings.max_running
        self._scratch = tempfile.TemporaryDirectory(prefix="headrace-trt-")
        self._progress = facts.Progress()
        self._last = Look()

    def command(self) -> Sequence[str]:
        folder = Path(self._scratch.name)
        named = folder / "model" / self._served  # the served name is the last part of the path
        if not named.is_symlink():
            named.parent.mkdir()
            named.symlink_to(self._model, target_is_directory=True)
        options = folder / "options.yaml"
        options.write_text(facts.options_file(self._settings))
        return facts.command(self._program, str(named), self._http.host, self._settings, str(options))

    def environment(self) -> dict[str, str]:
        return self._environment

    async def health(self) -> bool | None:
        return await self._http.ok(facts.HEALTH)

    async def generate(self, timeout: float) -> None:
        await self._http.get(facts.GENERATE, timeout)

    async def models(self) -> tuple[ServedModel, ...]:
        cards = decode(await self._http.get(facts.MODELS), _Cards, facts.MODELS).data
        return tuple(ServedModel(card.id, self._context) for card in cards)

    async def look(self) -> Look:
        look = self._progress.prometheus(await self.metrics(PATIENCE))
        if look is None:
            body = await self._http.get(facts.ITERATIONS)
            look = self._progress.json(decode(body, list[facts.IterationStats], facts.ITERATIONS), self._last)
        self._last = look
        return look

    async def metrics(self, timeout: float) -> bytes:
        return await self._http.get(facts.PROMETHEUS, timeout)

    def close(self) -> None:
        super().close()
        self._scratch.cleanup()

    def explain(self, code: int, log: Sequence[str]) -> Ending:
        return explain(code, log, facts.CLUES)


def serve(settings: TrtWorkerSettings) -> None:
    """``headrace worker trt``. Raises ConfigError, ModelError or EngineEnded."""
    supervise(Trt(settings), settings)

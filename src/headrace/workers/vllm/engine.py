"""vLLM as the supervisor sees it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from headrace.config import VllmWorkerSettings
from headrace.errors import ConfigError
from headrace.workers.contract import ServedModel
from headrace.workers.supervisor import Engine, Look, supervise
from headrace.workers.supervisor.ending import Ending, explain
from headrace.workers.supervisor.engine import PATIENCE
from headrace.workers.supervisor.http import EngineHttp, decode
from headrace.workers.supervisor.program import check_model, find_program
from headrace.workers.supervisor.surroundings import engine_environment
from headrace.workers.vllm import facts


class _Card(msgspec.Struct):
    id: str
    max_model_len: int | None = None
    parent: str | None = None


class _Cards(msgspec.Struct):
    data: list[_Card]


class Vllm(Engine):
    """``vllm serve`` on the traffic port."""

    name = "vllm-worker"
    grace = facts.GRACE

    def __init__(self, settings: VllmWorkerSettings) -> None:
        """Raises ConfigError or ModelError where the engine need not even be started."""
        self._settings = settings
        self._environment = facts.variables(engine_environment())
        self._program = find_program(settings.executable, facts.PROGRAM, self._environment["PATH"], "vllm")
        model = settings.model.resolve()
        found = check_model(model, "vllm")
        self._context = found.context or 0
        self._inputs = facts.inputs(found.sees, settings)
        self._model = str(model)
        self._served = settings.name or model.name
        self._keys = [key for key in (settings.hop_secret, settings.hop_secret_previous) if key]
        if any(argument.split("=")[0] == "--config" for argument in settings.arguments):
            raise ConfigError("vllm.arguments: --config is taken; write its settings as arguments of their own")
        if settings.loras is not None and not settings.loras.is_dir():
            raise ConfigError(f"vllm.loras: there is no folder {settings.loras}")
        self._http = EngineHttp(settings.host, settings.port, self._keys[0] if self._keys else "", "vllm")
        self.origin = self._http.origin
        self._scratch = tempfile.TemporaryDirectory(prefix="headrace-vllm-")
        self.max_running = settings.max_running * settings.data_parallel

    def command(self) -> Sequence[str]:
        config = Path(self._scratch.name) / "config.yaml"  # in a folder that is ours alone
        if self._keys:
            config.write_text(facts.config_file(self._keys))
        return facts.command(
            self._program, self._model, self._served, self._http.host, self._settings, config if self._keys else None
        )

    def environment(self) -> dict[str, str]:
        return self._environment

    async def health(self) -> bool | None:
        return await self._http.ok(facts.HEALTH)

    async def generate(self, timeout: float) -> None:
        await self._http.post(facts.COMPLETIONS, facts.completion(self._served), timeout)

    async def models(self) -> tuple[ServedModel, ...]:
        cards = decode(await self._http.get(facts.MODELS), _Cards, facts.MODELS).data
        adapters = tuple(card.id for card in cards if card.parent is not None)
        bases = [card for card in cards if card.parent is None]
        return tuple(
            ServedModel(card.id, card.max_model_len or self._context, adapters, inputs=self._inputs) for card in bases
        )

    async def look(self) -> Look:
        return facts.look(await self.metrics(PATIENCE))

    async def metrics(self, timeout: float) -> bytes:
        return await self._http.get(facts.METRICS, timeout)

    def close(self) -> None:
        super().close()
        self._scratch.cleanup()

    def explain(self, code: int, log: Sequence[str]) -> Ending:
        return explain(code, log, facts.CLUES)


def serve(settings: VllmWorkerSettings) -> None:
    """``headrace worker vllm``. Raises ConfigError, ModelError or EngineEnded."""
    supervise(Vllm(settings), settings)

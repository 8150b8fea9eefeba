"""Which workers `headrace up` runs: of the settings, the models that are there, and what the machine has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from headrace import models
from headrace.config import UpWorker
from headrace.errors import ConfigError, ModelError
from headrace.models import Model, Store
from headrace.models.describe import Description
from headrace.models.hub import HubId, pull_hub

_GPUS = ("/dev/nvidia0", "/dev/dxg")
"""Device files of NVIDIA's driver: the first GPU on Linux, and any under WSL."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A kind of worker. A worker takes ``fixed_mib`` plus ``weights`` times the size of its model's files."""

    kind: str
    port: int
    ops_port: int
    fixed_mib: int
    weights: float
    chats: bool


CPU = Engine("cpu", 8040, 9140, fixed_mib=700, weights=5.0, chats=True)
BERT = Engine("bert", 8010, 9110, fixed_mib=250, weights=1.5, chats=False)
VLLM = Engine("vllm", 8020, 9120, fixed_mib=4000, weights=1.2, chats=True)
TRT = Engine("trt", 8030, 9130, fixed_mib=4000, weights=1.2, chats=True)
_ENGINES = {engine.kind: engine for engine in (CPU, BERT, VLLM, TRT)}


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker: its engine, its model, and the environment variables that are its alone."""

    engine: Engine
    model: Model
    name: str
    """The pool: what requests call the model."""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has for engines."""

    gpu: bool
    programs: frozenset[str]
    """Engines whose program is installed."""

    @classmethod
    def look(cls, exists: Callable[[str], bool] = lambda path: Path(path).exists()) -> Machine:
        found = {"vllm": shutil.which("vllm"), "trt": shutil.which("trtllm-serve")}
        return cls(any(map(exists, _GPUS)), frozenset(name for name, program in found.items() if program))

    @property
    def best(self) -> str:
        """The engine that a GPU is best used with; empty where there is none."""
        return next((engine for engine in ("vllm", "trt") if self.gpu and engine in self.programs), "")


def choose(wanted: Sequence[UpWorker], store: Store, machine: Machine, console: Console) -> list[Worker]:
    """The workers to run, the demo's where none are wanted. Models that are named by a hub id are fetched.

    Raises ConfigError and ModelError.
    """
    if not wanted:
        wanted = (UpWorker(model=models.CHAT), UpWorker(model=models.EMBEDDING))
    workers: list[Worker] = []
    for entry in wanted:
        model = _find(entry, store, machine, console)
        engine = _engine(entry, Description(model.format, model.architecture, model.context, model.engines), machine)
        worker = Worker(engine, model, entry.name or model.name, _variables(entry, engine))
        workers += [worker] * entry.count
    return workers


def offer(wanted: Sequence[UpWorker], machine: Machine) -> str:
    """What to say about a GPU that lies idle; empty where there is nothing to say."""
    if wanted or not machine.best:
        return ""
    return (
        f"there is a GPU, and {machine.best} to use it with, but the demo's model is for the CPU: "
        "try headrace up --model organisation/model"
    )


def _find(entry: UpWorker, store: Store, machine: Machine, console: Console) -> Model:
    name = entry.model
    folder = Path(name).expanduser()
    if folder.is_dir() and (folder.is_absolute() or name.startswith(("./", "../", "~"))):
        folder = folder.resolve()
        return Store(folder.parent).find(folder.name)
    if "/" in name:
        hub_id = HubId.parse(name)
        if (store.directory / hub_id.folder).is_dir() and store.complete(hub_id.folder) is None:
            return store.find(hub_id.folder)  # somebody's own folder of that name
        pull_hub(store, hub_id, console, judge=lambda found: _judge(entry, found, machine))
        return store.find(hub_id.folder)
    if name in (models.CHAT, models.EMBEDDING) and not (store.directory / name).is_dir():
        raise ModelError(f"the model {name} is not in {store.directory}; get it with: headrace models pull demo")
    return store.find(name)


def _judge(entry: UpWorker, model: Description, machine: Machine) -> None:
    """Raises ConfigError or ModelError for what would be fetched in vain."""
    if not model.engines:
        raise ModelError(f"{entry.model}: {model.advice}")
    _engine(entry, model, machine)


def _engine(entry: UpWorker, model: Description, machine: Machine) -> Engine:
    """The engine that was asked for, or the best that can serve the model here. Raises ConfigError."""
    able = model.engines
    if entry.engine:
        if entry.engine not in able:
            raise ConfigError(f"up.workers: {entry.engine} does not serve {entry.model}: use {_either(able)}")
        return _ENGINES[entry.engine]
    here = [name for name in able if name in ("cpu", "bert") or (machine.gpu and name in machine.programs)]
    if here:
        return _ENGINES[here[0]]
    lacks = "it has a GPU, but no such program on the PATH" if machine.gpu else "it has no GPU"
    raise ConfigError(
        f"{entry.model} ({model.format}) is for {_either(able)}, and this machine lacks that: {lacks}. "
        "Take a GGUF of the model, or name the engine in up.workers"
    )


def _variables(entry: UpWorker, engine: Engine) -> dict[str, str]:
    """The entry's own settings, which win over the section's, and its GPUs."""
    section = engine.kind.upper()
    variables = {f"HEADRACE_{section}_{key.upper()}": _text(value) for key, value in entry.settings.items()}
    return {**variables, "CUDA_VISIBLE_DEVICES": entry.gpus} if entry.gpus else variables


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _either(engines: Sequence[str]) -> str:
    return " or ".join(engines) or "no engine"

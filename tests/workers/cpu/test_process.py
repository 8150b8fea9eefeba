from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headrace.errors import ModelError
from headrace.workers.cpu.messages import EngineSpec, Step
from headrace.workers.cpu.process import EngineProcess


@pytest.fixture
def gguf(model_folder: Path) -> Path:
    (path,) = model_folder.glob("*.gguf")
    return path


def process(path: Path) -> EngineProcess:
    steps: list[Step] = []
    return EngineProcess(EngineSpec(str(path), "f32", 1, 16), steps.append)


async def test_model_that_the_engine_cannot_load(tmp_path: Path) -> None:
    engine = process(tmp_path)
    await engine.spawn()
    with pytest.raises(ModelError, match="cannot be served"):
        await engine.ready()
    await engine.close()


async def test_process_that_is_killed_while_it_loads(gguf: Path) -> None:
    engine = process(gguf)
    await engine.spawn()
    engine.kill()
    with pytest.raises(ModelError, match="ended by SIGKILL"):
        await engine.ready()
    await engine.close()


async def test_closing_before_the_start_is_nothing(tmp_path: Path) -> None:
    engine = process(tmp_path)
    await engine.close()
    engine.kill()
    assert engine.pid is None


async def test_process_ends_with_its_worker(gguf: Path) -> None:
    engine = process(gguf)
    await engine.spawn()
    await engine.ready()
    running = asyncio.create_task(engine.run())
    await engine.close()
    assert await running == "the engine process ended with exit code 0"

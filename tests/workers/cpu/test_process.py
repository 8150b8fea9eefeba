from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from headrace.errors import ModelError
from headrace.workers.cpu.messages import Cancel, EngineSpec, Sampling, Start, Step
from headrace.workers.cpu.process import EngineProcess

pytestmark = pytest.mark.e2e


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


_WORKER = """
import asyncio, sys
from headrace.workers.cpu.messages import EngineSpec
from headrace.workers.cpu.process import EngineProcess

async def main():
    sys.executable = sys.argv[1]
    engine = EngineProcess(EngineSpec("", "f32", 1, 16), print)
    await engine.spawn()
    print(engine.pid, flush=True)
    await engine.run()

asyncio.run(main())
"""
_WEDGED = """#!/bin/sh
trap '' HUP TERM
echo $$
while :; do sleep 1; done
"""


def test_a_wedged_engine_ends_when_its_worker_is_killed(tmp_path: Path) -> None:
    wedged = tmp_path / "wedged"
    wedged.write_text(_WEDGED)
    wedged.chmod(0o755)
    with subprocess.Popen([sys.executable, "-c", _WORKER, str(wedged)], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        (pid,) = {int(worker.stdout.readline()) for _ in range(2)}  # the engine is deaf, the worker has told the guard
        engine = psutil.Process(pid)
        worker.kill()
    try:
        engine.wait(60)
    finally:
        with suppress(psutil.NoSuchProcess):
            engine.kill()


async def test_nothing_is_left_of_an_engine_that_ended(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    engine = process(tmp_path)
    await engine.spawn()
    await engine.close()
    await engine.close()
    assert set(psutil.Process().children()) == before


async def test_real_engine_from_start_to_end(gguf: Path) -> None:
    """One load, since it takes seconds: requests it finishes, refuses, cannot hold; the end with its worker."""
    steps: asyncio.Queue[Step] = asyncio.Queue()
    engine = EngineProcess(EngineSpec(str(gguf), "f32", 4, kv_blocks=4), steps.put_nowait)
    await engine.spawn()
    assert (await engine.ready()).seconds > 0
    running = asyncio.create_task(engine.run())

    async def outcome(id_: int, prompt: list[int], sampling: Sampling) -> tuple[int, str]:
        engine.send(Start(id_, prompt, sampling))
        count = 0
        while True:
            for output in (await asyncio.wait_for(steps.get(), 60)).outputs:
                count += len(output.tokens)
                if output.finish:
                    assert output.id == id_
                    return count, output.finish

    assert await outcome(1, [28], Sampling(max_tokens=5, ignore_eos=True)) == (5, "length")
    assert await outcome(2, [28], Sampling(max_tokens=5, temperature=-1.0)) == (5, "length")  # below 0 is greedy too
    assert await outcome(3, [], Sampling(max_tokens=5)) == (0, "failed")
    assert await outcome(4, [28], Sampling(max_tokens=5, repetition_penalty=-1.0)) == (0, "failed")
    assert await outcome(5, [28], Sampling(max_tokens=1000, ignore_eos=True)) == (128, "failed")  # 4 blocks of 32
    engine.send(Start(6, [28], Sampling(max_tokens=100, ignore_eos=True)))
    engine.send(Cancel(6))
    finish = ""
    while not finish:
        finish = "".join(output.finish for output in (await asyncio.wait_for(steps.get(), 60)).outputs)
    assert finish == "cancelled"
    await engine.close()
    assert await running == "the engine process ended with exit code 0"

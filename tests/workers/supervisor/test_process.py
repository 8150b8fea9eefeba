"""The engine's process, with real programs."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from headrace.workers.supervisor import process
from headrace.workers.supervisor.process import Children, EngineProcess

LEAVES_ANOTHER = """
import os, sys
print("up", flush=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        os.execvp("sleep", ["sleep", "600"])
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    pass
"""


async def test_output_that_a_stranger_holds_open_does_not_hold_the_end_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_PIPE_SECONDS", 0.2)
    monkeypatch.setattr(process, "_descendants", list)  # as where it is not ours any more
    left = tmp_path / "left"
    children = Children()
    engine = await EngineProcess.start([sys.executable, "-c", LEAVES_ANOTHER, str(left)], dict(os.environ), children)
    while engine.running:
        children.reap()
        await asyncio.sleep(0.05)
    try:
        assert await engine.close() == ["up"]
        assert await engine.close() == ["up"]
    finally:
        os.kill(int(left.read_text()), 9)

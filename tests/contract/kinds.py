"""The workers that the suite runs against. A third party adds its own here, and nothing else."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("HEADRACE_TEST_MODELS") or ROOT / ".headrace" / "models")
VLLM = os.environ.get("HEADRACE_TEST_VLLM", "")
"""Folder of an environment with vLLM, and of the model that it serves: ``make test-vllm`` sets it."""

STALL, WEDGE = 3.0, 10.0
"""Seconds after which a worker calls itself stalled, and after which it kills its engine."""
RUNNING, WAITING = 4, 2
"""Requests that a worker runs, and that it lets wait."""


@dataclass(frozen=True)
class Kind:
    """One kind of worker, and what its engine can and cannot do."""

    name: str
    model: Path
    text: bool = True
    """It generates text, in an engine that is a process of its own; else it embeds, and is its own engine."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    continues: bool = True
    """It goes on with a final assistant message."""
    guarded: bool = True
    """It asks for the hop secret on every path under /v1."""
    names_models: bool = True
    """It refuses a model that it does not serve, tells contexts, and answers errors as OpenAI does."""
    bounded: bool = True
    """Its queue is bounded: what is too much gets 503."""
    engine: str = ""
    """In the command lines of the processes that compute; empty: all below the worker's."""

    def engines(self, worker: psutil.Process) -> list[psutil.Process]:
        """The processes that compute."""
        found = worker.children(recursive=True)
        return [process for process in found if self.engine in " ".join(process.cmdline() or [process.name()])]


def kinds(scratch: Path) -> dict[str, Kind]:
    """``scratch`` is a folder for what has to be made."""
    return {
        "cpu": Kind("cpu", MODELS / "smollm2-135m", settings={"kv_cache_mib": 200}, engine="workers.cpu.child"),
        "bert": Kind("bert", MODELS / "all-minilm-l6-v2", text=False, settings={"max_waiting": 4096}),
        "trt": Kind(
            "trt",
            _empty_model(scratch),
            settings={"executable": str(_stand_in(scratch)), "context": 2048},
            variables={"STANDIN_STEP": "0.05", "STANDIN_LOAD": "0.5"},
            continues=False,
            guarded=False,
            names_models=False,
            bounded=False,
        ),
        "vllm": Kind(
            "vllm",
            Path(VLLM) / "models" / "smollm2-135m",
            settings={
                "executable": f"{VLLM}/bin/vllm",
                "dtype": "float32",
                "context": 2048,
                "arguments": ["--enforce-eager"],
            },
            variables={"VLLM_CPU_KVCACHE_SPACE": "2"},
            engine="VLLM::",
        ),
    }


PARAMS = [
    pytest.param("cpu"),
    pytest.param("bert"),
    pytest.param("trt"),
    pytest.param(
        "vllm", marks=[pytest.mark.wheel, pytest.mark.skipif(not VLLM, reason="vLLM is tested by `make test-vllm`")]
    ),
]


def _stand_in(scratch: Path) -> Path:
    """An executable ``trtllm-serve``, run by this Python."""
    source = (ROOT / "tests" / "workers" / "trt" / "trtllm-serve").read_text()
    program = scratch / "trtllm-serve"
    program.write_text(f"#!{sys.executable}\n{source}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def _empty_model(scratch: Path) -> Path:
    """What the stand-in serves: a folder that looks like a model; it reads no weights."""
    folder = scratch / "llama"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 2048}')
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    return folder

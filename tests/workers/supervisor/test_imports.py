"""The images of vLLM and TensorRT-LLM get the extra ``worker`` and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("kind", ["vllm", "trt"])
def test_the_supervisor_needs_only_the_packages_of_its_extra(kind: str) -> None:
    script = (
        f"import sys, headrace.workers.{kind}.engine, headrace.cli\n"
        "from importlib.metadata import packages_distributions\n"
        "found = packages_distributions()\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted({package.lower() for name in names for package in found.get(name, [])}))\n"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    lock = Path("requirements/worker.txt").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert "msgspec" in loaded
    unasked = {"headrace", "attrs", "greenlet", "setuptools"}  # rich and structlog take what happens to be there
    assert {name.replace("_", "-") for name in loaded} - locked <= unasked

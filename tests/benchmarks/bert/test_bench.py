"""The benchmark itself: the real model, a few texts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[3]


def test_a_quick_run_measures_every_part() -> None:
    models = Path(os.environ.get("HEADRACE_TEST_MODELS") or _ROOT / ".headrace" / "models")
    flags = ["--texts", "16", "--single", "4", "--short", "3", "--rounds", "1"]
    command = [sys.executable, "-m", "benchmarks.bert", str(models / "all-minilm-l6-v2"), *flags]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("matrix products alone", "worker, calls of 32 by 8", "worker, one call", "worker, single texts by 64"):
        assert f"\n{part} " in done.stdout
    assert " batch times of " in done.stdout

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from headrace.workers.supervisor.surroundings import engine_environment


def test_secrets_and_our_own_python_stay_here(tmp_path: Path) -> None:
    ours = str(Path(sys.executable).parent)
    variables = engine_environment(
        {
            "HEADRACE_VLLM_HOP_SECRET": "s",
            "PYTHONPATH": "/ours",
            "VIRTUAL_ENV": "/ours",
            "PATH": f"{ours}:/usr/bin",
            "HOME": str(tmp_path),
            "CUDA_VISIBLE_DEVICES": "1",
        }
    )
    assert not [name for name in variables if name.startswith("HEADRACE_")]
    assert "PYTHONPATH" not in variables
    assert "VIRTUAL_ENV" not in variables
    assert ours not in variables["PATH"].split(os.pathsep) or sys.prefix == sys.base_prefix
    assert variables["CUDA_VISIBLE_DEVICES"] == "1"


def test_nothing_is_fetched_and_nothing_reports() -> None:
    variables = engine_environment({"HOME": "/tmp"})
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert variables["DO_NOT_TRACK"] == "1"
    assert engine_environment({"HOME": "/tmp", "HF_HUB_OFFLINE": "0"})["HF_HUB_OFFLINE"] == "0"


def test_a_home_that_cannot_be_written_is_replaced() -> None:
    home = Path(engine_environment({"HOME": "/nowhere"})["HOME"])
    assert home.is_dir()
    home.rmdir()


def test_a_user_without_a_name_gets_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    assert engine_environment({"HOME": str(tmp_path)})["USER"] == "headrace"

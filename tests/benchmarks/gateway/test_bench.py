"""The benchmark itself: real processes, a few requests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gateway import loadbench
from benchmarks.gateway.columns import COLUMNS

_BENCH = [sys.executable, "-m", "benchmarks.gateway"]


@pytest.mark.e2e
@pytest.mark.skipif(not loadbench.binary().exists(), reason="the load generator is not built: make bench-gateway")
def test_a_quick_run_measures_every_column_without_an_error(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    argv = [*_BENCH, "--quick", "--rounds", "1", "--json", str(file)]
    done = subprocess.run(argv, cwd=loadbench.ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    columns = json.loads(file.read_text())["columns"]
    for column in COLUMNS:
        assert column.title in done.stdout
        assert columns[column.key]["samples"]["headrace"][0]["value"] > 0


@pytest.mark.parametrize("flags", [["--rounds", "0"], ["--only", "memory"], ["--processes", "x"]])
def test_a_wrong_option_says_what_is_allowed(flags: list[str]) -> None:
    done = subprocess.run([*_BENCH, *flags], cwd=loadbench.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"argument {flags[0]}:" in done.stderr
    assert "Traceback" not in done.stderr

"""``--no-skips`` of tests/conftest.py, in a pytest of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SKIPS = {
    "body": "def test_it(): pytest.skip('no engine')",
    "mark": "@pytest.mark.skip(reason='no engine')\ndef test_it(): ...",
    "fixture": "@pytest.fixture\ndef engine(): pytest.skip('no engine')\ndef test_it(engine): ...",
    "module": "pytest.skip('no engine', allow_module_level=True)",
}
ALLOWED = {
    "gpu": "@pytest.mark.gpu\ndef test_it(): pytest.skip('none here')",
    "wheel": "@pytest.mark.wheel\ndef test_it(): pytest.skip('none here')",
    "xfail": "@pytest.mark.xfail\ndef test_it(): assert False",
}


def run(folder: Path, tests: dict[str, str], *options: str) -> str:
    shutil.copy("tests/conftest.py", folder)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    gpu: x\n    wheel: x\n")
    for name, text in tests.items():
        (folder / f"test_{name}.py").write_text(f"import pytest\n{text}\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},  # for what tests/conftest.py imports
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout


def test_every_kind_of_skip_fails(tmp_path: Path) -> None:
    output = run(tmp_path, SKIPS, "--no-skips", "--continue-on-collection-errors")
    for name in SKIPS:
        assert f"test_{name}.py" in output
    assert output.count("--no-skips forbids this: ") >= len(SKIPS)
    assert output.count("no engine") >= len(SKIPS)
    assert "skipped" not in output.splitlines()[-1]


def test_skips_are_skips_without_the_option(tmp_path: Path) -> None:
    assert run(tmp_path, SKIPS).splitlines()[-1].startswith("4 skipped")


def test_some_may_skip(tmp_path: Path) -> None:
    assert run(tmp_path, ALLOWED, "--no-skips").splitlines()[-1].startswith("2 skipped, 1 xfailed")

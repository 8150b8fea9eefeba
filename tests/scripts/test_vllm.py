"""The environment of real vLLM: clear where it cannot be had, at once where it is there."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

SCRIPT = Path("scripts/vllm.sh").absolute()


def run(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.run(
        [str(SCRIPT), str(folder)], capture_output=True, text=True, env={**environment, **variables}, check=False
    )


def test_what_cannot_be_had_is_left_out_with_a_word(tmp_path: Path) -> None:
    nowhere = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(tmp_path)}
    done = run(tmp_path / "vllm", **nowhere)
    assert done.returncode == 3
    assert "vLLM is left out: " in done.stderr
    assert not (tmp_path / "vllm" / "headrace.sha256").exists()


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    locks = [Path("requirements/vllm.txt"), Path("requirements/torch-cpu.txt"), SCRIPT, Path("scripts/vllm_model.py")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in locks)).hexdigest()
    (tmp_path / "headrace.sha256").write_text(f"{digest}\n")
    done = run(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (tmp_path / "headrace.sha256").write_text("another")
    assert run(tmp_path, PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull).returncode == 3

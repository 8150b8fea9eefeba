"""The set-up's own lock, and the locks of the packages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from scripts.setup.lock import exclusive

LOCKS = sorted(Path("requirements").glob("*.txt"))
_REQUIREMENT = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ; ([^\\]*\S))?", re.MULTILINE)


def pins(lock: Path) -> set[tuple[str, str, str]]:
    return {(name, version, marker or "") for name, version, marker in _REQUIREMENT.findall(lock.read_text())}


def test_second_set_up_waits_for_the_first(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "setup.lock"
    script = (
        "import sys; from pathlib import Path; from scripts.setup.lock import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print('mine', flush=True)\n"
    )
    with exclusive(path):
        other = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "==> Waiting for another set-up of this checkout to end\n"
    out, _ = other.communicate(timeout=60)
    assert out == "mine\n"


def test_one_lock_for_each_extra() -> None:
    assert {lock.stem for lock in LOCKS} >= {"core", "cpu", "bert", "worker", "local", "dev", "pip"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_locks_hold_hashes_and_no_addresses(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize("name", ["core", "cpu", "bert", "worker", "local"])
def test_one_version_of_a_package_in_all_locks(name: str) -> None:
    versions = {pin[:2] for pin in pins(Path("requirements/dev.txt"))}
    assert {pin[:2] for pin in pins(Path(f"requirements/{name}.txt"))} <= versions


def test_supervisor_needs_no_arrays() -> None:
    names = {name for name, _, _ in pins(Path("requirements/worker.txt"))}
    assert not names & {"numpy", "torch", "openvino", "sqlalchemy"}

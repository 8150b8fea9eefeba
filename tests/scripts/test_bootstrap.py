"""scripts/bootstrap.sh, with a PATH that has only what the test puts there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path("scripts/bootstrap.sh").absolute()
OLD = """#!/bin/sh
case "$2" in *print*) echo 3.9.2 ;; *) exit 1 ;; esac
"""
BROKEN_SHIM = "#!/bin/sh\necho 'command not found' >&2\nexit 127\n"
GOOD = f'#!/bin/sh\necho "chosen: $(basename "$0")"\nexec {sys.executable} "$@"\n'


def timed(microseconds: int) -> str:
    """A Python that says that it needs so long for the test of speed."""
    return GOOD.replace("exec", f'case "$1" in *speed.py) echo {microseconds}; exit ;; esac\nexec')


class Checkout:
    """A checkout whose set-up only says that it was started, and a folder of commands."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.bin = folder / "bin"
        (self.root / "scripts" / "setup").mkdir(parents=True)
        for name in ("bootstrap.sh", "speed.py"):
            shutil.copy(SCRIPT.with_name(name), self.root / "scripts")
        (self.root / "scripts" / "setup" / "__main__.py").write_text("import sys; print('set up', *sys.argv[1:])\n")
        self.bin.mkdir()
        for tool in ("bash", "sh", "dirname", "basename", "uname", "cat"):
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def command(self, name: str, text: str) -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)  # it may be a link to the system's own program
        path.write_text(text)
        path.chmod(0o755)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / "scripts" / "bootstrap.sh"), "local"],
            env={"PATH": str(self.bin), "PYTHONDONTWRITEBYTECODE": "1", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_no_python_at_all(checkout: Checkout) -> None:
    done = checkout.run()
    assert done.returncode == 1
    assert "a 64-bit Python 3.11, 3.12 or 3.13 is needed. There is no python3 here." in done.stderr
    assert "Get one:" in done.stderr
    assert "make up PYTHON=/path/to/python3.12" in done.stderr


def test_old_python_is_named(checkout: Checkout) -> None:
    checkout.command("python3", OLD)
    done = checkout.run()
    assert done.returncode == 1
    assert "python3 here is Python 3.9.2." in done.stderr
    assert done.stdout == ""


def test_advice_fits_the_system(checkout: Checkout) -> None:
    checkout.command("apt-get", "#!/bin/sh\n")
    checkout.command("uname", "#!/bin/sh\necho Linux\n")
    assert "sudo apt-get install python3" in checkout.run().stderr
    checkout.command("uname", "#!/bin/sh\necho Darwin\n")
    assert "brew install python@3.12" in checkout.run().stderr


def test_first_python_that_works_is_taken(checkout: Checkout) -> None:
    checkout.command("python3.11", BROKEN_SHIM)
    checkout.command("python3.12", OLD)
    checkout.command("python3.13", timed(1000))
    checkout.command("python3", timed(1000))
    done = checkout.run()
    assert done.stdout.splitlines() == ["chosen: python3.13", "set up local"]
    assert done.stderr == ""


def test_faster_python_is_preferred(checkout: Checkout) -> None:
    for name, microseconds in (("python3.11", 1000), ("python3.12", 700), ("python3.13", 600)):
        checkout.command(name, timed(microseconds))
    assert checkout.run().stdout.startswith("chosen: python3.12\n")


def test_little_faster_is_no_reason(checkout: Checkout) -> None:
    for name, microseconds in (("python3.11", 1000), ("python3.12", 900)):
        checkout.command(name, timed(microseconds))
    assert checkout.run().stdout.startswith("chosen: python3.11\n")


def test_every_python_of_a_name_is_looked_at(checkout: Checkout, tmp_path: Path) -> None:
    checkout.command("python3.11", timed(1000))
    checkout.bin, first = tmp_path / "other", checkout.bin
    checkout.bin.mkdir()
    checkout.command("python3.11", timed(500).replace("chosen:", "chosen: the other"))
    done = checkout.run(PATH=f"{first}:{checkout.bin}")
    assert done.stdout.startswith("chosen: the other python3.11\n")


def test_environment_that_is_made_is_not_measured_again(checkout: Checkout) -> None:
    (checkout.root / ".venv").mkdir()
    (checkout.root / ".venv" / "headrace.json").touch()
    for name, microseconds in (("python3.11", 1000), ("python3.12", 100)):
        checkout.command(name, timed(microseconds))
    assert checkout.run().stdout.startswith("chosen: python3.11\n")


def test_named_python_is_taken(checkout: Checkout) -> None:
    checkout.command("python3", GOOD)
    checkout.command("mine", GOOD)
    assert checkout.run(PYTHON=str(checkout.bin / "mine")).stdout.startswith("chosen: mine\n")


@pytest.mark.parametrize("text", [OLD, BROKEN_SHIM])
def test_named_python_that_does_not_fit(checkout: Checkout, text: str) -> None:
    checkout.command("python3", GOOD)
    checkout.command("mine", text)
    done = checkout.run(PYTHON="mine")
    assert done.returncode == 1
    assert "PYTHON=mine is not a working 64-bit Python 3.11, 3.12 or 3.13." in done.stderr


def test_started_from_elsewhere(checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout.command("python3", GOOD)
    monkeypatch.chdir(tmp_path)
    assert "set up local" in checkout.run().stdout


def test_script_is_executable() -> None:
    assert os.access(SCRIPT, os.X_OK)

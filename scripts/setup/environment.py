"""The checkout's ``.venv``: made once, brought up to date when a lock changes, never left looking complete."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.setup import pip, preflight
from scripts.setup.errors import SetupError

EXTRAS = {"local": ("local",), "dev": ("local", "dev")}
"""What each extra's lock installs: ``dev`` holds ``local``."""

_NETWORK = "check the network, PIP_INDEX_URL and the proxy settings, then run the same command again"


def run_command(command: list[str], folder: Path) -> bool:
    """Run a command that speaks for itself; whether it succeeded."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
    environment["PIP_USER"] = "0"  # some systems make it the default, and a virtual environment refuses it
    return subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, check=False).returncode == 0


class Environment:
    """``.venv`` of the checkout at ``root``.

    What is in it is noted in ``.venv/headrace.json``, as the last step; without the note it is made anew.
    ``named``: the user chose this Python, so one that was made with another is replaced.
    """

    def __init__(
        self,
        root: Path,
        *,
        named: bool = False,
        run: Callable[[list[str], Path], bool] = run_command,
        look: Callable[[Path], preflight.Machine] = preflight.look,
    ) -> None:
        self._root = root
        self._named = named
        self._command = run
        self._look = look
        self._folder = root / ".venv"
        self._note = self._folder / "headrace.json"
        self._python = self._folder / "bin" / "python"

    def ready(self, extra: str) -> bool:
        """Whether everything that the extra's lock names is installed; starts no process."""
        return self._usable() and self._read_note().get(extra) == self._digest(extra)

    def prepare(self, extra: str) -> None:
        """Make it ready. Raises SetupError."""
        preflight.check(self._look(self._root), self._root)
        note = self._read_note()
        if not self._usable():
            self._create()
            note = {"root": str(self._root), "python": str(self._python.resolve())}
        self._note.unlink(missing_ok=True)  # pip takes a half-copied package for an installed one
        self._install(extra)
        self._write_note(note | {name: self._digest(name) for name in EXTRAS[extra]})

    def _usable(self) -> bool:
        """Made here, by a Python that is still there: its scripts hold absolute paths."""
        note = self._read_note()
        return (
            self._python.exists()
            and note.get("root") == str(self._root)
            and note.get("python") == str(self._python.resolve())
            and (not self._named or self._python.resolve() == Path(sys.executable).resolve())
        )

    def _create(self) -> None:
        _say(f"Making .venv with Python {sys.version.split()[0]} ({sys.executable})")
        lock = self._root / "requirements" / "pip.txt"
        has_pip = importlib.util.find_spec("ensurepip") is not None
        options = ["--clear"] if has_pip else ["--clear", "--without-pip"]
        self._run([sys.executable, "-m", "venv", *options, str(self._folder)], "the virtual environment was not made")
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            runner = ["-m", "pip"] if has_pip else [str(pip.find_wheel(lock, Path(folder)) / "pip")]
            install = [*runner, "install", "--quiet", "--require-hashes", "-r", str(lock)]
            self._run([str(self._python), *install], f"pip could not be installed: {_NETWORK}")

    def _install(self, extra: str) -> None:
        lock = self._root / "requirements" / f"{extra}.txt"
        count = sum(1 for line in lock.read_text().splitlines() if "==" in line and not line.startswith((" ", "#")))
        _say(f"Installing up to {count} packages from requirements/{extra}.txt")
        install = [str(self._python), "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
        pinned = ["--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
        self._run([*install, *pinned], f"the packages could not be installed: {_NETWORK}")
        _say("Installing Headrace itself, in place")
        editable = ["--quiet", "--no-build-isolation", "--editable", str(self._root)]
        self._run([*install, *editable], "Headrace itself could not be installed: see pip's lines above")

    def _run(self, command: list[str], failure: str) -> None:
        if not self._command(command, self._root):
            raise SetupError(failure)

    def _digest(self, extra: str) -> str:
        """Changes with the locks and with what pyproject.toml says of the package, not with the tools' settings."""
        with (self._root / "pyproject.toml").open("rb") as stream:
            project = tomllib.load(stream)
        parts = [json.dumps([project["build-system"], project["project"]]).encode()]
        parts += [(self._root / "requirements" / f"{name}.txt").read_bytes() for name in ("pip", extra)]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()

    def _read_note(self) -> dict[str, Any]:
        try:
            note = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def _write_note(self, note: dict[str, Any]) -> None:
        staged = self._note.with_suffix(".new")
        staged.write_text(json.dumps(note, indent=2) + "\n")
        staged.replace(self._note)


def _say(text: str) -> None:
    print(f"==> {text}", flush=True)

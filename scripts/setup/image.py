"""The environment of a container image: one extra's lock and the package itself, with no pip left inside.

``python3 -m scripts.setup.image packages EXTRA FOLDER`` makes it, ``… headrace FOLDER`` puts Headrace into it. Two
steps, so that a change of the code keeps the layer of the packages. pip works from outside, by ``--python``; so the
Python that runs this needs neither pip nor ensurepip, and an engine's own environment beside it stays as it is.
"""

from __future__ import annotations

import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path

from scripts.setup.environment import run_command
from scripts.setup.errors import SetupError
from scripts.setup.pip import find_wheel

_USAGE = "usage: python3 -m scripts.setup.image packages EXTRA FOLDER | headrace FOLDER"


class ImageEnvironment:
    """The environment in ``folder``, made from the checkout at ``root``."""

    def __init__(self, root: Path, folder: Path, *, run: Callable[[list[str], Path], bool] = run_command) -> None:
        self._root = root
        self._folder = folder
        self._command = run

    def install(self, extra: str) -> None:
        """Make the environment with the packages of ``requirements/<extra>.txt``. Raises SetupError."""
        lock = self._lock(extra)
        venv.EnvBuilder(symlinks=True, with_pip=False).create(self._folder)
        self._pip(self._folder, "--require-hashes", "--only-binary", ":all:", "-r", str(lock))

    def install_headrace(self) -> None:
        """Build the package with the tools of requirements/build.txt and install it. Raises SetupError."""
        with tempfile.TemporaryDirectory(prefix="headrace-") as name:
            tools = Path(name) / "tools"
            venv.EnvBuilder(symlinks=True, with_pip=False).create(tools)
            self._pip(tools, "--require-hashes", "--only-binary", ":all:", "-r", str(self._lock("build")))
            build = [str(tools / "bin" / "python"), "-m", "hatchling", "build", "-t", "wheel", "-d", name]
            if not self._command(build, self._root):
                raise SetupError("the wheel of Headrace could not be built: see the lines above")
            (wheel,) = Path(name).glob("headrace-*.whl")
            self._pip(self._folder, "--no-index", str(wheel))

    def _lock(self, extra: str) -> Path:
        lock = self._root / "requirements" / f"{extra}.txt"
        if not lock.is_file():
            raise SetupError(f"{lock} does not exist: name an extra of pyproject.toml")
        return lock

    def _pip(self, folder: Path, *what: str) -> None:
        with tempfile.TemporaryDirectory(prefix="headrace-") as name:
            pip = find_wheel(self._root / "requirements" / "pip.txt", Path(name)) / "pip"
            python = str(folder / "bin" / "python")
            options = ["--python", python, "install", "--quiet", "--no-deps", "--no-cache-dir"]
            if not self._command([sys.executable, str(pip), *options, *what], self._root):
                raise SetupError("packages could not be installed: check the network, PIP_INDEX_URL and the proxies")


def main(arguments: list[str], root: Path) -> int:
    """What the Dockerfiles call."""
    try:
        match arguments:
            case ["packages", extra, folder]:
                ImageEnvironment(root, Path(folder)).install(extra)
            case ["headrace", folder]:
                ImageEnvironment(root, Path(folder)).install_headrace()
            case _:
                print(_USAGE, file=sys.stderr)
                return 2
    except SetupError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

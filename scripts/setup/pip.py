"""pip where Python comes without it (Debian splits ``ensurepip`` off): a wheel that can be run as it is."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from scripts.setup.errors import SetupError

_TIMEOUT = 60.0


@dataclass(frozen=True)
class Pin:
    """The pip that requirements/pip.txt asks for."""

    version: str
    hashes: frozenset[str]

    @classmethod
    def read(cls, lock: Path) -> Pin:
        text = lock.read_text()
        version = re.search(r"^pip==(\S+)", text, re.MULTILINE)
        if version is None:
            raise SetupError(f"{lock} does not pin pip: restore it with `git checkout {lock}`")
        return cls(version[1], frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", text)))

    @property
    def wheel(self) -> str:
        return f"pip-{self.version}-py3-none-any.whl"


def find_wheel(lock: Path, folder: Path) -> Path:
    """A pip wheel in ``folder``: from this Python's own pip, the user's index, or Debian. Raises SetupError."""
    for way in (_from_own_pip, _from_index, _from_debian):
        if (wheel := way(lock, folder)) is not None:
            return wheel
    raise SetupError(
        "this Python has neither ensurepip nor pip: `sudo apt-get update && sudo apt-get install python3-venv` "
        "(python3.12-venv where it is not the system's own), or set PIP_INDEX_URL to a package index"
    )


def _from_own_pip(lock: Path, folder: Path) -> Path | None:
    """From this Python's pip, or that of another one that scripts/bootstrap.sh found."""
    download = ["-m", "pip", "download", "--no-deps", "--require-hashes", "-r", str(lock), "-d", "."]
    for python in dict.fromkeys((sys.executable, os.environ.get("SETUP_PIP_PYTHON") or sys.executable)):
        if _quietly([python, *download], folder):
            return next(folder.glob("pip-*.whl"), None)
    return None


def _from_index(lock: Path, folder: Path) -> Path | None:
    index = os.environ.get("PIP_INDEX_URL")
    if not index:
        return None
    pin = Pin.read(lock)
    page = f"{index.rstrip('/')}/pip/"
    try:
        address = _Links.find(_get(page).decode("utf-8", "replace"), page, pin.wheel)
        data = _get(address) if address is not None else b""
    except (OSError, ValueError) as error:
        raise SetupError(f"pip could not be fetched from PIP_INDEX_URL ({error}): check it and the network") from None
    if address is None:
        raise SetupError(f"the package index at PIP_INDEX_URL has no {pin.wheel}")
    if hashlib.sha256(data).hexdigest() not in pin.hashes:
        raise SetupError(f"the package index at PIP_INDEX_URL gave another {pin.wheel} than {lock} pins: do not use it")
    wheel = folder / pin.wheel
    wheel.write_bytes(data)
    return wheel


def _from_debian(lock: Path, folder: Path) -> Path | None:
    """Debian's own wheel, by apt, which checks its signature and needs no root for this."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return None
    download = ["apt-get", "download", "--quiet", "python3-pip-whl"]
    if not _quietly(download, folder) and os.geteuid() == 0:  # an image comes without apt's lists
        _quietly(["apt-get", "update"], folder)
        _quietly(download, folder)
    for package in folder.glob("*.deb"):
        _quietly(["dpkg-deb", "-x", str(package), str(folder)], folder)
    return next(folder.glob("usr/share/python-wheels/pip-*.whl"), None)


def _quietly(command: list[str], folder: Path) -> bool:
    """Whether the command succeeded; what it says is of no use to the user."""
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


class _Links(HTMLParser):
    """The links of an index page (PEP 503)."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value for name, value in attrs if tag == "a" and name == "href" and value]

    @classmethod
    def find(cls, text: str, page: str, name: str) -> str | None:
        parser = cls()
        parser.feed(text)
        whole = (urljoin(page, address) for address in parser.addresses)
        return next((address for address in whole if urlsplit(address).path.endswith(f"/{name}")), None)


def _get(address: str) -> bytes:
    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError("not an http address")
    request = urllib.request.Request(address, headers={"Accept": "text/html, */*;q=0.1"})
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
    with urllib.request.urlopen(request, timeout=_TIMEOUT, context=context) as answer:
        data: bytes = answer.read()
    return data

"""The environment variables that an engine is started with."""

from __future__ import annotations

import os
import pwd
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_OURS = ("HEADRACE_", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""Prefixes of what is for us: secrets, and the environment of our own Python."""

_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",
}
"""Models are on this disk: an engine that would fetch one has been given a wrong folder. Nothing reports to anybody."""


def engine_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Ours without what is only for us, and with what engines need where a container has an arbitrary user.

    torch asks for the user's name and for a home to cache compiled kernels in, and fails without them.
    """
    variables = {name: value for name, value in environ.items() if not name.startswith(_OURS)}
    variables["PATH"] = _without_ours(variables.get("PATH", os.defpath))
    variables = _QUIET | variables
    if not _has_name():
        variables.setdefault("USER", "headrace")
        variables.setdefault("LOGNAME", "headrace")
    home = variables.get("HOME", "")
    if not home or not os.access(home, os.W_OK):
        variables["HOME"] = tempfile.mkdtemp(prefix="headrace-home-")
    return variables


def _without_ours(path: str) -> str:
    """The search path without our own Python's folder, whose programs are not the engine's."""
    ours = str(Path(sys.executable).parent) if sys.prefix != sys.base_prefix else ""
    return os.pathsep.join(part for part in path.split(os.pathsep) if part != ours)


def _has_name() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True

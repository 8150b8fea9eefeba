"""Where the engine's program is, and the model that it is to serve."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from headrace.errors import ConfigError, ModelError
from headrace.models import manifest
from headrace.models.describe import Description, describe


def find_program(given: Path | None, name: str, path: str, setting: str) -> str:
    """The absolute path of the engine's program. Raises ConfigError, which says what to install or set."""
    if given is not None:
        if not (given.is_absolute() and given.is_file() and os.access(given, os.X_OK)):
            raise ConfigError(f"{setting}.executable: {given} must be the absolute path of a program that can be run")
        return str(given)
    found = shutil.which(name, path=path)
    if found is None:
        raise ConfigError(
            f"there is no {name} on the PATH: install the engine in an environment of its own, and set "
            f"{setting}.executable to its absolute path"
        )
    return str(Path(found).absolute())


def check_model(folder: Path, engine: str) -> Description:
    """What the folder holds, found whole and fit for ``engine``. Raises ModelError, which says what to do."""
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}: get the model with `headrace models pull`")
    known = manifest.read(folder)
    if known is not None and (missing := known.missing(folder)):
        raise ModelError(
            f"{folder / missing[0]} is missing or cut off: delete {folder} and run `headrace models pull {known.pull}`"
        )
    found = describe(folder)
    if engine not in found.engines:
        able = ", ".join(f"`headrace worker {name}`" for name in found.engines)
        advice = f"serve it with {able}" if able else found.advice
        raise ModelError(f"{folder} holds {found.architecture} as {found.format}, not for this worker: {advice}")
    return found

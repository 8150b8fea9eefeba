"""A copy of a GGUF file where the engine may open it.

OpenVINO GenAI opens a GGUF for reading and writing although it only reads (its ``gguf_open`` asks for ``O_RDWR``).
Under a read-only /model, as on a cluster, that fails, so the file is copied once to a place that can be written.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from headrace.errors import ModelError

log = logging.getLogger(__name__)


def openable(path: Path, scratch: Path) -> Path:
    """``path``, or its copy in ``scratch`` where it is a file that cannot be written. Raises ModelError."""
    if path.is_dir() or os.access(path, os.W_OK):
        return path
    size = path.stat().st_size
    copy = scratch / path.name
    if copy.is_file() and copy.stat().st_size == size and copy.stat().st_mtime == path.stat().st_mtime:
        return copy
    log.info("copying the model, which is read-only", extra={"model": str(path), "to": str(copy), "bytes": size})
    part = copy.with_suffix(".part")
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(scratch).free
        if free < size:
            raise ModelError(
                f"{path} is read-only and {scratch} has no room for the copy that the engine needs: {size >> 20} MiB "
                f"are needed, {free >> 20} are free; make it writable, or give HEADRACE_HOME more room"
            )
        shutil.copy2(path, part)
        part.chmod(0o600)
        part.replace(copy)
    except OSError as error:
        raise ModelError(f"{path} is read-only and could not be copied to {scratch}: {error.strerror}") from None
    return copy

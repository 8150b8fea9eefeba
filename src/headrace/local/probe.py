"""Asks a child's ops port whether it is ready."""

from __future__ import annotations

from headrace.errors import ConnectError, WireError
from headrace.wire.client import Origin, fetch

_LIMIT = 4096
_REASON = 200


async def unready(ops: Origin, path: str = "/readyz") -> str | None:
    """None if ``GET path`` answers 200, else the reason why the service is not ready, in one line."""
    try:
        answer = await fetch(ops, "GET", path, timeout=2.0, limit=_LIMIT)
    except ConnectError:
        return "not listening"
    except WireError:
        return "does not answer"
    if answer.status == 200:
        return None
    text = " ".join(answer.body.decode("utf-8", "replace").split())
    return "".join(char for char in text if char.isprintable())[:_REASON] or f"answers {answer.status}"

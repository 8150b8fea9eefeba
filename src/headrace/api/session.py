"""The ``x-headrace-session`` header: which requests belong together, where their client says so.

Routers see a digest, which is another one for each tenant: what clients call their users is none of their business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xxhash import xxh3_64_hexdigest

from headrace.wire import contract

HEADER = b"x-session-id"
"""The client's; OpenAI's ``prompt_cache_key`` and, last, ``user`` say the same."""


def line(headers: Mapping[bytes, bytes], document: Mapping[str, Any], tenant: str) -> bytes:
    """The header line for the router; empty where the client names no session."""
    name = headers.get(HEADER) or document.get("prompt_cache_key") or document.get("user")
    if not name:
        return b""
    text = name if isinstance(name, bytes) else str(name).encode("utf-8", "surrogatepass")
    return b"%b: %b\r\n" % (contract.SESSION, xxh3_64_hexdigest(b"%b\0%b" % (tenant.encode(), text)).encode())

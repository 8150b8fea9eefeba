"""An HTTP request, parsed."""

from __future__ import annotations

from dataclasses import dataclass

Headers = list[tuple[bytes, bytes]]
"""Names in lower case."""


@dataclass(slots=True)
class Request:
    """One request. ``headers`` has lower-case names; repeated fields are joined with ``, `` (RFC 9110, 5.2)."""

    method: str
    path: str
    """Percent-encoded, without the query; what no decoding touched cannot be smuggled past a route."""
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    peer: str
    """The address of the other end of the connection, without the port; empty for a Unix socket."""
    received: float
    """``time.monotonic()`` when the head was complete."""

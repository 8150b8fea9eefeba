"""An HTTP request, parsed."""

from __future__ import annotations

from msgspec import Struct

Headers = list[tuple[bytes, bytes]]
"""Names in lower case."""


class Request(Struct, eq=False, gc=False):
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
    keep_alive: bool = True
    """Whether the client may send another request on its connection."""
    http11: bool = True
    """Whether the client speaks HTTP/1.1, and not 1.0."""

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"  # keys and prompts are not for logs

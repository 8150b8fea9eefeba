"""What one connection may cost. All sizes are bytes, all times seconds."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds of the server side."""

    head: int = 32 * KIB
    body: int = 8 * MIB
    upload: int = 64 * MIB
    """Of a body that is sent to one of ``upload_paths``."""
    upload_paths: frozenset[bytes] = frozenset()
    head_timeout: float = 10.0
    body_idle_timeout: float = 30.0
    body_timeout: float = 300.0
    """For the whole body, which may come in ever so small pieces."""
    bodies: int = 256 * MIB
    """Bytes of bodies that are still arriving, of all connections together: nobody has shown a key by then."""
    linger: float = 30.0
    """A client that was refused while it sends has so long to read why."""
    keep_alive: float = 75.0
    """Longer than ``ClientLimits.keep_alive``: the side that reuses a connection must be the one that closes it."""
    pipelined: int = 64 * KIB
    """Bytes of following requests that may wait while one is answered; beyond it the connection closes after it."""
    write_stall: float = 60.0
    """A reader that takes nothing for this long is gone."""
    connections: int = 20_000


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Bounds of the upstream side."""

    connect_timeout: float = 5.0
    head: int = 64 * KIB
    keep_alive: float = 60.0
    max_age: float = 60.0
    """A connection older than this is not reused, so that a new replica gets its share; jittered down by a quarter."""
    idle: int = 1_024
    """Idle connections kept per origin."""

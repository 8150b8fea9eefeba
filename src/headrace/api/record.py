"""One line per request."""

from __future__ import annotations

import time

import msgspec

from headrace.telemetry.logs import LineWriter


class Record(msgspec.Struct, omit_defaults=True):
    """What is known of a request when it is over. Never its text. Times are milliseconds."""

    id: str
    path: str
    event: str = "request"
    service: str = "llm-api"
    at: float = 0.0
    """Seconds since 1970, at the end."""
    client: str = ""
    client_id: str = ""
    """The client's own ``x-request-id``."""
    trace: str = ""
    """The trace's id, where traces are on."""
    tenant: str = ""
    key: str = ""
    model: str = ""
    alias: str = ""
    """The name that the client asked for, where it is another one."""
    worker: str = ""
    attempts: int = 0
    stream: bool = False
    batch: bool = False
    """A line of a batch: it goes in the lowest band."""
    status: int = 0
    reason: str = ""
    """The error's code, or ``client_gone``."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    replayed: bool = False
    """Answered from what was kept of an earlier request: nothing was used."""
    estimated: bool = False
    """No worker told the tokens, most likely because the client left; these are our own counts."""
    auth_ms: float = 0.0
    queue_ms: int = 0
    connect_ms: float = 0.0
    """To a router; 0 where a connection was open."""
    ttft_ms: float = 0.0
    total_ms: float = 0.0
    client_stall_ms: float = 0.0


def milliseconds(seconds: float) -> float:
    """With three digits behind the point."""
    return int(seconds * 1e6) / 1e3


class AccessLog:
    """Writes records as JSON lines, off the event loop."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def write(self, record: Record) -> None:
        record.at = int(time.time() * 1e3) / 1e3
        self._writer.write(record)

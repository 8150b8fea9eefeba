"""Reads the usage off a stream as it passes, and hides it from a client that did not ask for it."""

from __future__ import annotations

from msgspec import Struct

from headrace.openai import usage as usages
from headrace.openai.usage import Usage

_MARK = b'"usage"'
_NULL = b'"usage":null'
_DATA = b"data:"
_ERROR = b'data: {"error"'


class StreamMeter(Struct, eq=False, gc=False):
    """``on_events`` is a ``Relay``'s: it takes whole events and gives what the client gets."""

    wanted: bool
    """The client asked for the usage event."""
    usage: Usage | None = None
    events: int = 0
    """Events that went by: about one for each token."""
    failed: bool = False
    """An error event went by."""

    def on_events(self, payload: bytes) -> bytes:
        events = payload.count(_DATA)
        self.events += events
        if payload.startswith(_ERROR) or (events > 1 and b"\n\n" + _ERROR in payload):
            self.failed = True
        if _MARK in payload and payload.count(_MARK) != payload.count(_NULL):
            return self._read(payload)
        return payload

    def _read(self, payload: bytes) -> bytes:
        kept: list[bytes] = []
        dropped = False
        for event in payload.replace(b"\r\n", b"\n").split(b"\n\n"):
            answer = usages.read(event[len(_DATA) :]) if event.startswith(_DATA) else None
            if answer is not None:
                self.usage = answer.usage
                if answer.only_usage and not self.wanted:
                    dropped = True
                    continue
            kept.append(event)
        return b"\n\n".join(kept) if dropped else payload

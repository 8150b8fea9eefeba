"""Between a client and a worker that do not speak the same API."""

from __future__ import annotations

from headrace.wire.dialect import Dialect


class Translator(Dialect):
    """Turns the answer of one request into what its client expects. Answers that are errors go by ``Dialect``."""

    __slots__ = ()

    def answer(self, body: bytes) -> bytes:
        """A whole answer. Raises BadGateway for one that makes no sense."""
        return body

    def on_events(self, events: bytes) -> bytes:
        """Whole events of a stream; may keep some back. Raises ProtocolError for events that make no sense."""
        return events

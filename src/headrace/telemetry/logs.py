"""One JSON line per event on standard output."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections import deque
from collections.abc import MutableMapping
from typing import IO, Any

import msgspec
import structlog

_FLUSH_SECONDS = 0.1

_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str, service: str, stream: IO[str] | None = None) -> None:
    """Send everything that goes through ``logging`` to standard output, a JSON object a line."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_extras],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=_to_json),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel("WARNING")
    handler.addFilter(lambda record: record.__dict__.setdefault("service", service) is not None)


def _extras(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What was given as ``extra=`` becomes fields."""
    record = event["_record"]
    event.update({key: value for key, value in vars(record).items() if key not in _RECORD_FIELDS})
    event["logger"] = record.name
    event["level"] = record.levelname.lower()
    return event


def _to_json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


class LineWriter:
    """Writes objects as JSON lines from a thread, many at a time: a full pipe never holds the event loop up.

    Beyond ``limit`` of them that wait, further ones are dropped and counted in ``dropped``: a log must not be what ends
    a service.
    """

    def __init__(self, descriptor: int = 1, limit: int = 20_000) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._limit = limit
        self._encoder = msgspec.json.Encoder()
        self._waiting: deque[object] = deque()  # its methods are atomic: no lock between the loop and the thread
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: object) -> None:
        """Take what is to become one line; it is not to be changed any more."""
        if len(self._waiting) >= self._limit:
            self.dropped += 1
        else:
            self._waiting.append(line)

    def close(self) -> None:
        """Write what waits."""
        self._wake.put(True)
        self._thread.join(timeout=2.0)

    def _write(self) -> None:
        closing = False
        while not closing:
            try:
                closing = self._wake.get(timeout=_FLUSH_SECONDS)
            except queue.Empty:
                closing = False
            waiting = len(self._waiting)
            if waiting:
                self._flush([self._waiting.popleft() for _ in range(waiting)])

    def _flush(self, lines: list[object]) -> None:
        try:
            data = self._encoder.encode_lines(lines)
        except (TypeError, ValueError):  # what cannot be written must not end the thread
            self.dropped += len(lines)
            return
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            self.dropped += data.count(b"\n")

"""Requests over a bare connection, for what an SDK hides: how an answer ends, and going away before it does."""

from __future__ import annotations

import enum
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from tests.e2e.patience import PATIENCE

_LOST = (http.client.HTTPException, ConnectionError)


class Ending(enum.Enum):
    """How an event stream ended."""

    DONE = "with [DONE]"
    ERROR = "with an error event"
    CUT = "with the connection, in the middle of the body"
    SILENT = "as if it were complete, but without its last event"


class Call:
    """One request on a connection of its own. A context manager: its end closes the connection."""

    def __init__(
        self, url: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
        self._response: http.client.HTTPResponse | None = None
        self.ending: Ending | None = None
        """Known when ``events`` is at its end."""
        self.seen: list[str] = []
        """The data of all events so far."""
        self._unread = b""
        self.read = b""
        """The body, where it was read whole."""
        self._rest = b""
        self._events = self._read_events()
        try:
            self._connection.request(method, path, body, dict(headers or {}))
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Close the connection, whatever was read."""
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def half_close(self) -> None:
        """Send the end of our side, as a client that will not say anything more; what comes could still be read."""
        self._connection.sock.shutdown(socket.SHUT_WR)

    @property
    def response(self) -> http.client.HTTPResponse:
        """Waits for the head of the answer. Raises an error of http.client or of the connection where none comes."""
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> http.client.HTTPMessage:
        return self.response.headers

    @property
    def failed(self) -> bool:
        """Whether an error was answered."""
        return self._response is not None and self._response.status >= 400

    def body(self) -> bytes:
        self.read += self.response.read()
        return self.read

    def json(self) -> Any:
        return json.loads(self.body())

    def outcome(self) -> int | None:
        """The status of an answer that arrived whole; None where the connection was lost before."""
        try:
            self.body()
        except _LOST:
            return None
        return self.status

    def events(self) -> Iterator[str]:
        """The data of the events to come; comments are left out."""
        return self._events

    def _read_events(self) -> Iterator[str]:
        try:
            for line in self._lines():
                if line.startswith(b"data: "):
                    self.seen.append(line.removeprefix(b"data: ").decode())
                    yield self.seen[-1]
        except _LOST:
            self.ending = Ending.CUT
        else:
            self.ending = self._judge()

    def _lines(self) -> Iterator[bytes]:
        """By hand: ``readline`` of http.client takes a body that was cut off for a whole one."""
        while piece := self.response.read1(65536):
            *lines, self._rest = (self._rest + piece).split(b"\n")
            yield from lines

    def first_event(self) -> str:
        return next(self._events)

    def end(self) -> Ending:
        """Read all there is."""
        for _ in self._events:
            pass
        assert self.ending is not None
        return self.ending

    def text(self) -> str:
        """What the chat events so far say, of choice 0."""
        chunks = [json.loads(data) for data in self.seen if data != "[DONE]"]
        choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    def _judge(self) -> Ending:
        last = self.seen[-1] if self.seen else ""
        if last == "[DONE]":
            return Ending.DONE
        return Ending.ERROR if last.startswith('{"error"') else Ending.SILENT


def get(url: str, path: str) -> Any:
    """The JSON at ``path``, which must be there."""
    with Call(url, "GET", path) as call:
        assert call.status == 200, (path, call.status, call.body())
        return call.json()

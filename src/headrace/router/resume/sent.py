"""What a client got of a stream before it broke."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from headrace.errors import NotResumable

_DONE = b"[DONE]"


class _Delta(Struct, gc=False):
    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw(b"null")
    function_call: msgspec.Raw = msgspec.Raw(b"null")
    audio: msgspec.Raw = msgspec.Raw(b"null")


class _Choice(Struct, gc=False):
    index: int = 0
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Event(Struct, gc=False):
    id: str = ""
    object: str = ""
    created: int = 0
    model: str = ""
    choices: list[_Choice] = []
    usage: msgspec.Raw = msgspec.Raw(b"null")


_decoder = msgspec.json.Decoder(_Event)
_NULL = b"null"


class Sent:
    """One stream of one choice, read from its events."""

    def __init__(self, events: bytes) -> None:
        """Raises NotResumable where they make no sense."""
        self.id = self.object = self.model = ""
        self.created = 0
        self.role = False
        """The event that opens an assistant's turn was there."""
        self.reasoning = ""
        self.tools = False
        """Something that is no text was there: calls of tools, speech, a refusal."""
        self.finished: set[int] = set()
        """The choices that came to their end."""
        self.usage = False
        self.done = False
        self._texts: list[str] = []
        for data in split(events):
            self._read(data)
        self.text = "".join(self._texts)

    def head(self) -> dict[str, Any]:
        """What every event of the stream has in common."""
        head = {"id": self.id, "object": self.object, "created": self.created, "model": self.model}
        return {name: value for name, value in head.items() if value}

    def _read(self, data: bytes) -> None:
        if data == _DONE:
            self.done = True
            return
        try:
            event = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise NotResumable("unreadable", "the worker's events are not OpenAI's") from None
        if not self.id:
            self.id, self.object, self.created, self.model = event.id, event.object, event.created, event.model
        if not event.choices and event.usage != _NULL:
            self.usage = True
        for choice in event.choices:
            self._add(choice)

    def _add(self, choice: _Choice) -> None:
        if choice.finish_reason is not None:
            self.finished.add(choice.index)
        if choice.text:
            self._texts.append(choice.text)
        delta = choice.delta
        if delta is None:
            return
        self.role = self.role or delta.role is not None
        self.reasoning += delta.reasoning_content or delta.reasoning or ""
        if delta.content:
            self._texts.append(delta.content)
        others = (delta.tool_calls, delta.function_call, delta.audio)
        if delta.refusal or any(bytes(other) not in {_NULL, b"[]"} for other in others):
            self.tools = True


def split(events: bytes) -> list[bytes]:
    """The data of each of some whole events; comments and other fields are left out."""
    found = []
    for event in events.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
        if lines:
            found.append(b"\n".join(lines))
    return found

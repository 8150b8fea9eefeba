"""Makes the events of a second worker go on with the stream that a first one began."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.errors import ProtocolError
from headrace.router.resume.continuation import Continuation
from headrace.router.resume.seam import Seam
from headrace.router.resume.sent import Sent, split

_DONE = b"[DONE]"
_EMPTY: tuple[Any, ...] = (None, "", [])


class Splice:
    """``on_events`` is a relay's: it takes whole events of the new worker and gives what the client gets.

    Events get the ``id``, ``created`` and ``model`` of the stream that they go on with; the second opening of the turn
    is dropped; the counts of ``usage`` become those of the whole answer.
    """

    def __init__(self, sent: Sent, continuation: Continuation, seam: Seam) -> None:
        self._sent = sent
        self._continuation = continuation
        self._seam = seam

    @property
    def stopped(self) -> bool:
        """Whether the answer ended at a stop string across the seam: no more is wanted, its usage is still to come."""
        return self._seam.stopped is not None

    def on_events(self, events: bytes) -> bytes:
        """Raises ProtocolError for what cannot be a continuation."""
        return b"".join(map(self._event, split(events)))

    def _event(self, data: bytes) -> bytes:
        if self.stopped:
            return b""
        if data == _DONE:
            return b"data: [DONE]\n\n"
        try:
            event = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event = None
        if not isinstance(event, dict):
            raise ProtocolError("an event of the answer is not a JSON object")
        if "error" not in event:
            if not self._rewrite(event):
                return b""
            event |= self._sent.head()
        return b"data: %b\n\n" % msgspec.json.encode(event)

    def _rewrite(self, event: dict[str, Any]) -> bool:
        """Change the event in place. False if nothing of it is left."""
        usage = event.get("usage")
        if usage:
            self._count(usage)
        choices = event.get("choices")
        if not choices:
            return True
        kept = [self._choice(choice) for choice in choices]
        return any(kept) or bool(usage)

    def _count(self, usage: dict[str, Any]) -> None:
        sent = self._continuation.sent
        prompt = max(0, usage.get("prompt_tokens", 0) - sent)
        completion = (usage.get("completion_tokens") or 0) + sent
        usage |= {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        details = usage.get("prompt_tokens_details")
        if details and details.get("cached_tokens"):
            details["cached_tokens"] = min(details["cached_tokens"], prompt)

    def _choice(self, choice: dict[str, Any]) -> bool:
        """False if nothing of the choice is left."""
        delta = choice.get("delta")
        place, name = (choice, "text") if delta is None else (delta, "content")
        if delta is not None:
            if self._sent.role or self._sent.text:
                delta.pop("role", None)
            if self._sent.text and (delta.get("reasoning_content") or delta.get("reasoning")):
                raise ProtocolError("the new worker began to reason in the middle of the answer")
        had = place.get(name)
        ends = choice.get("finish_reason") is not None
        text = self._seam.feed(had or "")
        if self.stopped:
            choice["finish_reason"], choice["stop_reason"] = "stop", self._seam.stopped
        elif ends:
            text += self._seam.flush()
        if text or had is not None:
            place[name] = text
        if choice.get("finish_reason") is not None:
            return True
        return any(value not in _EMPTY for value in (delta if delta is not None else {"text": text}).values())

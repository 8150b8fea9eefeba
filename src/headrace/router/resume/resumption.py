"""A broken stream on its way to its end."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.errors import NotResumable
from headrace.router.resume import continuation
from headrace.router.resume.check import check, choices
from headrace.router.resume.continuation import CHAT, Continuation, Tokenize
from headrace.router.resume.replay import Replay
from headrace.router.resume.seam import Seam
from headrace.router.resume.sent import Sent
from headrace.router.resume.splice import Splice

_DONE = b"data: [DONE]\n\n"


class Resumption:
    """What the client has of its answer, and how to get the rest. Decodes the request: build it only when needed."""

    def __init__(self, path: str, body: bytes, replay: Replay) -> None:
        """Raises NotResumable."""
        if not replay.complete:
            raise NotResumable("replay_memory", "too much was being sent to keep it")
        self._path = path
        self._replay = replay
        self._document = continuation.decode(body)
        self._sent = Sent(replay.events())
        self._splice: Splice | None = None
        self.finished = len(self._sent.finished) >= choices(self._document) or self._sent.done
        """Nothing is left to generate: only the last events are missing."""
        if not self.finished:
            check(self._document, self._sent)

    @property
    def stopped(self) -> bool:
        """Whether a stop string across the seam stopped the new worker, so that ``usage`` and ``end`` are to follow."""
        return self._splice is not None and self._splice.stopped

    async def plan(self, tokenize: Tokenize) -> Continuation:
        """What the new worker is to be asked. Raises NotResumable and WireError."""
        return await continuation.plan(self._path, self._document, self._sent, tokenize)

    def splice(self, planned: Continuation) -> Splice:
        """What the new worker's events go through."""
        document = self._document
        stops = document.get("stop") or []
        keep = bool(document.get("include_stop_str_in_output"))
        seam = Seam(self._sent.text, planned.space, [stops] if isinstance(stops, str) else stops, keep_stop=keep)
        self._splice = Splice(self._sent, planned, seam)
        return self._splice

    def cut_off(self, planned: Continuation) -> bytes:
        """The last events of an answer whose limit of tokens is reached."""
        place: dict[str, Any] = {"delta": {}} if self._path == CHAT else {"text": ""}
        choice = {"index": 0, **place, "logprobs": None, "finish_reason": "length"}
        return self._event([choice]) + self._usage(planned.prompt, planned.sent) + _DONE

    async def usage(self, tokenize: Tokenize) -> bytes:
        """The usage event of an answer that is complete, where it is missing. Raises WireError."""
        sent = Sent(self._replay.events())
        if sent.usage or sent.done or sent.tools or choices(self._document) > 1:
            return b""  # it is there, or cannot be counted from the text: llm-api estimates it then
        text = sent.reasoning + sent.text
        try:
            return self._usage(*await continuation.count(self._path, self._document, text, tokenize))
        except NotResumable:
            return b""

    def end(self) -> bytes:
        """The last event of an answer that is complete; nothing if it was sent."""
        return b"" if self._sent.done else _DONE

    def _usage(self, prompt: int, completion: int) -> bytes:
        options = self._document.get("stream_options")
        if not (isinstance(options, dict) and options.get("include_usage")):
            return b""
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        return self._event([], usage=usage)

    def _event(self, choices: list[Any], **more: Any) -> bytes:
        return b"data: %b\n\n" % msgspec.json.encode({**self._sent.head(), "choices": choices, **more})

"""The text on both sides of the place where a stream broke."""

from __future__ import annotations

from collections.abc import Sequence


class Seam:
    """Takes the new worker's text and gives what of it the client is to get.

    ``space``: white space at the end of what was sent, which the new worker writes once more. ``stops``: stop strings,
    of which each worker sees only its own part: one that began in what was sent and ends in what is new is found here.
    ``before``: what was sent.
    """

    def __init__(self, before: str, space: str, stops: Sequence[str], *, keep_stop: bool = False) -> None:
        """``keep_stop``: the client wants the stop string that ends its text (``include_stop_str_in_output``)."""
        self.stopped: str | None = None
        """The stop string that was found."""
        self._space = space
        self._stops = [stop for stop in stops if stop]
        reach = max(map(len, self._stops), default=1) - 1
        self._before = before[-reach:] if reach else ""
        self._held = ""
        self._keep_stop = keep_stop

    def feed(self, text: str) -> str:
        """What of ``text``, and of what was held back, goes out; nothing more once ``stopped`` is set."""
        if self.stopped is not None:
            return ""
        text = self._swallow(text)
        if not self._before:
            return text
        self._held += text
        rests = [(start, (self._before + self._held)[start:]) for start in range(len(self._before))]
        for start, rest in rests:
            for stop in self._stops:
                if rest.startswith(stop) and len(stop) > len(self._before) - start:
                    return self._end(stop, start)
        if self._held and not any(stop.startswith(rest) for _, rest in rests for stop in self._stops):
            return self.flush()
        return ""  # a stop string so far

    def flush(self) -> str:
        """What was held back, when it is clear that it is text."""
        held, self._held, self._before = self._held, "", ""
        return held

    def _swallow(self, text: str) -> str:
        while text and self._space:
            if text[0] != self._space[0]:
                self._space = ""
                break
            text, self._space = text[1:], self._space[1:]
        return text

    def _end(self, stop: str, start: int) -> str:
        self.stopped = stop
        kept = self._held[: start + len(stop) - len(self._before)] if self._keep_stop else ""
        self._held = self._before = ""
        return kept

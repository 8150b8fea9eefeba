"""What holds whatever breaks, and the one judge of it.

- answered: no request is lost: each gets one answer, or an error that says when to come again;
- whole: a stream is complete, and exactly what the worker said, or ends with an error event;
- usage: what a finished request is told and billed for is what it got, and it is billed once;
- counters: nothing believes that there is work when there is none;
- memory: what was taken under load is given back.

``tests/chaos/test_sabotage.py`` breaks each on purpose and sees it found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.chaos import story
from tests.chaos.client import CHAT, Stream

ERRORS_THAT_MAY_BE = frozenset({429, 500, 502, 503, 504})
MEMORY_MIB = 64.0
"""That a process may have more than before: pools, caches and the allocator's own reserves, which are bounded."""


class Violated(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


@dataclass
class Asked:
    """One request, and what came of it."""

    path: str
    body: dict[str, Any]
    count: int
    """Tokens that it is to get."""
    stream: Stream = field(default_factory=Stream)

    @property
    def base(self) -> str:
        return story.chat_prompt(self.body) if self.path == CHAT else str(self.body["prompt"])

    @property
    def id(self) -> str:
        return self.stream.headers.get("x-request-id", "")

    @property
    def finished(self) -> bool:
        return self.stream.status == 200 and not self.stream.errors

    @property
    def usage(self) -> dict[str, int]:
        prompt = len(story.tokenize(self.base))
        return {"prompt_tokens": prompt, "completion_tokens": self.count, "total_tokens": prompt + self.count}


class Row(NamedTuple):
    """One line of the ledger."""

    id: str
    status: int
    prompt_tokens: int
    completion_tokens: int


class Account:
    """All that was asked for in a test. ``judge`` each answer, and at the end ``settle``."""

    def __init__(self, *, errors: bool = False) -> None:
        """``errors``: whether a request may also be refused, or broken off, as long as it is told so."""
        self.asked: list[Asked] = []
        self._errors = errors

    @property
    def finished(self) -> list[Asked]:
        return [one for one in self.asked if one.finished]

    def judge(self, asked: Asked, lost: BaseException | None = None) -> None:
        """Take one answer; ``lost``: why none, or not all of one, came. Raises Violated."""
        self.asked.append(asked)
        _judge_end(asked, lost, self._errors)
        if asked.stream.status == 200:
            _judge_text(asked)

    def settle(self, rows: Iterable[Row], *, strangers: bool = False) -> None:
        """Compare with the ledger; ``strangers``: others, who left before they were told an id, are in it too.

        Raises Violated.
        """
        billed = [row for row in rows if row.status == 200]
        by_id = {row.id: row for row in billed}
        for asked in self.finished:
            row, usage = by_id.get(asked.id), asked.usage
            if row is None:
                raise Violated("usage", f"{asked.id} is not billed")
            if (row.prompt_tokens, row.completion_tokens) != (usage["prompt_tokens"], usage["completion_tokens"]):
                raise Violated("usage", f"{row} is billed for {usage}")
        if not strangers and len(billed) != len(self.finished):
            raise Violated("usage", f"{len(billed)} are billed of {len(self.finished)} that finished")


def _judge_end(asked: Asked, lost: BaseException | None, errors: bool) -> None:
    stream = asked.stream
    if lost is not None and not stream.status:
        raise Violated("answered", f"no answer to {asked.body}: {lost!r}")
    if lost is not None or (stream.status == 200 and stream.events and not stream.done and not stream.errors):
        raise Violated("whole", f"{asked.id} ended without a word after {len(stream.events)} events: {lost!r}")
    if stream.status != 200:
        if not errors or stream.status not in ERRORS_THAT_MAY_BE:
            raise Violated("answered", f"{stream.status} {stream.body!r}")
        if "error" not in json.loads(stream.body):
            raise Violated("answered", f"an error without a reason: {stream.body!r}")
    elif stream.errors and not errors:
        raise Violated("whole", f"{asked.id}: {stream.errors}")


def _judge_text(asked: Asked) -> None:
    stream, expected = asked.stream, story.answer(asked.base, asked.count)
    if not asked.body.get("stream"):
        _judge_whole_answer(asked, expected)
        return
    if stream.errors:
        if not expected.startswith(stream.text):
            raise Violated("whole", f"{asked.id} said {stream.text!r} before it broke")
        return
    roles = [choice.get("delta", {}).get("role") for event in stream.events for choice in event["choices"]]
    if stream.text != expected or roles.count("assistant") != (asked.path == CHAT):
        raise Violated("whole", f"{asked.id} said {stream.text!r} and not {expected!r}")
    if stream.finish != ["length"] or len({(event["id"], event["model"]) for event in stream.events}) != 1:
        raise Violated("whole", f"{asked.id} is no one stream: {stream.finish}")
    if stream.usages != ([asked.usage] if "stream_options" in asked.body else []):
        raise Violated("usage", f"{asked.id} is told {stream.usages} and not {asked.usage}")


def _judge_whole_answer(asked: Asked, expected: str) -> None:
    document = json.loads(asked.stream.body)
    choice = document["choices"][0]
    text = choice["message"]["content"] if asked.path == CHAT else choice["text"]
    if text != expected:
        raise Violated("whole", f"{asked.id} said {text!r} and not {expected!r}")
    if document["usage"] != asked.usage:
        raise Violated("usage", f"{asked.id} is told {document['usage']} and not {asked.usage}")


def check_counters(counters: Mapping[str, float]) -> None:
    """All are 0. Raises Violated."""
    for name, value in counters.items():
        if value:
            raise Violated("counters", f"{name} is {value:g}")


def check_memory(before: Mapping[str, float], after: Mapping[str, float]) -> None:
    """MiB of each process that is still the same. Raises Violated."""
    for name in before.keys() & after.keys():
        if after[name] > before[name] + MEMORY_MIB:
            raise Violated("memory", f"{name} had {before[name]:.0f} MiB and has {after[name]:.0f}")

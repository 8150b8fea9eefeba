"""What the fake worker writes: a text that is a pure function of the prompt, and its tokens."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

_TOKEN = re.compile(r"<\|\w+\|>|»|\n+| ?[^\s<»]+|\s|<")
_WORDS = [
    "water",
    "wheel",
    "mill",
    "river",
    "stone",
    "grain",
    "wheat",
    "flour",
    "dam",
    "gate",
    "race",
    "head",
    "tail",
    "weir",
    "水车",
    "été",
    "naïve",
    "😀",
    '"a\\b"',
    "x=1;",
]
_ASSISTANT = "<|assistant|>\n"
_END = "<|end|>\n"
_MARK = "»"
"""Ends the prompt of a text completion, so that what was continued can be told from it."""


def tokenize(text: str) -> list[str]:
    return _TOKEN.findall(text)


def tokens(base: str) -> Iterator[str]:
    """The answer to ``base``, without end."""
    rng = random.Random(base)
    fresh = True
    while True:
        if not fresh and rng.random() < 0.08:
            yield "\n\n"
            fresh = True
            continue
        yield ("" if fresh else " ") + rng.choice(_WORDS)
        fresh = False


def answer(base: str, count: int) -> str:
    """The first ``count`` tokens of the answer to ``base``."""
    story = tokens(base)
    return "".join(next(story) for _ in range(count))


def chat_prompt(document: dict[str, Any]) -> str:
    """A chat template: trims, as those of real models do, and refuses what they refuse."""
    messages = document["messages"]
    continues = bool(document.get("continue_final_message"))
    generates = document.get("add_generation_prompt", not continues)
    if continues and (generates or messages[-1]["role"] != "assistant"):
        raise ValueError("continue_final_message needs an assistant's last message and no generation prompt")
    parts = [f"<|{message['role']}|>\n{message['content'].strip()}{_END}" for message in messages]
    text = "".join(parts)
    if continues:
        return text.removesuffix(_END)
    return text + _ASSISTANT if generates else text


def split(prompt: str, *, chat: bool) -> tuple[str, str]:
    """A prompt's base, and the beginning of the answer that it holds already."""
    mark = _ASSISTANT if chat else _MARK
    base, found, begun = prompt.rpartition(mark)
    return (base + found, begun) if found else (prompt, "")


def remainder(base: str, begun: str) -> Iterator[str]:
    """The tokens that follow ``begun``. Raises ValueError where the answer to ``base`` does not begin so."""
    story = tokens(base)
    seen = ""
    while len(seen) < len(begun):
        seen += next(story)
    if not seen.startswith(begun):
        raise ValueError(f"the answer does not begin with {begun[-80:]!r}")
    if len(seen) > len(begun):
        yield seen[len(begun) :]
    yield from story

"""Tokens of a text that is too long for the tokenizer to take in at once.

The tokenizer that OpenVINO GenAI makes from a GGUF cuts what it returns at 8,192 tokens, whatever the model's context,
and says nothing. So a long text is read in windows that overlap: within an overlap both readings soon agree where
tokens begin, since merges never reach further than a word, and there the second reading goes on from the first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

_OVERLAP = 1000
"""Bytes."""
_AGREEING = 8
"""Tokens in a row that both readings must have in common."""

Encode = Callable[[str, bool], Sequence[int]]
"""From a text, and whether the tokens come first that every text begins with, to token ids."""
_Reading = list[tuple[int, int]]
"""Tokens with the byte of the whole text that each begins at."""


def encode(
    text: str,
    *,
    special: bool,
    encode: Encode,
    piece: Callable[[int], bytes],
    window: int,
) -> list[int] | None:
    """Token ids; ``piece`` tells the bytes of a token. None where two readings never agree.

    ``window`` is in bytes: no token has fewer than one, so a window of fewer than the tokenizer's bound is never cut.
    """
    data = text.encode()
    overlap = min(_OVERLAP, window // 3)
    known: _Reading = []
    start = 0
    while True:
        end = _border(data, min(start + window, len(data)))
        fresh = _place(encode(data[start:end].decode(), special and start == 0), piece, end)
        joined = _join(known, fresh, start + overlap // 4) if start else fresh
        if joined is None:
            return None
        known = joined
        if end == len(data):
            return [token for _, token in known]
        start = _border(data, end - overlap)


def _border(data: bytes, at: int) -> int:
    """The last border between two characters at or before ``at``."""
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _place(tokens: Sequence[int], piece: Callable[[int], bytes], end: int) -> _Reading:
    """Counted from the end: some tokenizers put a space before a text that is not there."""
    placed: _Reading = []
    for token in reversed(tokens):
        end -= len(piece(token))
        placed.append((end, token))
    placed.reverse()
    return placed


def _join(known: _Reading, fresh: _Reading, least: int) -> _Reading | None:
    """``known`` up to where both agree, ``fresh`` from there; not before the byte ``least``."""
    for at in range(bisect_left(fresh, (least, -1)), len(fresh) - _AGREEING):
        same = bisect_left(known, (fresh[at][0], -1))
        if same + _AGREEING > len(known):
            return None
        if known[same : same + _AGREEING] == fresh[at : at + _AGREEING]:
            return known[:same] + fresh[at:]
    return None

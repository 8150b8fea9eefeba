"""Prompts as what engines and routers see of them: chained hashes of their blocks, and no words.

A text is a row of pieces (a system prompt, a document, a turn), each with a name and a length. Two texts that begin
with the same pieces have the same first hashes. One chain serves both: an engine's prefix cache holds its hashes as
they are, and ``x-headrace-prefix``, whose blocks grow from 256 B to 16 KiB, is a selection of them, at ``TOKEN_BYTES``
bytes a token.
"""

from __future__ import annotations

from collections.abc import Sequence

from xxhash import xxh3_64_hexdigest

BLOCK = 64
"""Tokens of a block. Engines use 16 or 32: four times as many hashes, for the last 3 % of a prompt."""
TOKEN_BYTES = 4
"""So a block is 256 B, the smallest of the header's."""
_STRIDES = (1, 4, 16, 64)
"""Blocks of ours that one of the header's stands for, 64 of each."""


class Text:
    """Immutable; ``plus`` gives a longer one and shares nothing that could change."""

    __slots__ = ("_open", "_tail", "keys", "tokens")

    def __init__(self, keys: tuple[bytes, ...] = (), tail: int = 0, open_: bytes = b"") -> None:
        self.keys = keys
        """The hashes of its whole blocks, each of which stands for all before it too."""
        self.tokens = len(keys) * BLOCK + tail
        self._tail = tail
        self._open = open_

    def plus(self, piece: str, tokens: int) -> Text:
        """This text, and then ``tokens`` tokens of the piece of that name."""
        keys = list(self.keys)
        tail, open_, taken = self._tail, self._open, 0
        last = keys[-1] if keys else b""
        while tail + tokens - taken >= BLOCK:
            part = BLOCK - tail
            last = xxh3_64_hexdigest(b"%b|%b|%b:%d+%d" % (last, open_, piece.encode(), taken, part)).encode()
            keys.append(last)
            taken += part
            tail, open_ = 0, b""
        if tokens > taken:
            open_ += b"%b:%d+%d," % (piece.encode(), taken, tokens - taken)
            tail += tokens - taken
        return Text(tuple(keys), tail, open_)


def header(keys: Sequence[bytes]) -> bytes:
    """``x-headrace-prefix`` of a text: every hash of the first 64 blocks, then every 4th, 16th and 64th."""
    chosen: list[bytes] = []
    start = 0
    for stride in _STRIDES:
        end = start + 64 * stride
        chosen += keys[start + stride - 1 : end : stride]
        start = end
    return b"".join(chosen)

"""From token ids to text, a token at a time."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

_SPACE = "\u2581".encode()
"""SentencePiece's mark for a space."""
_BYTE = re.compile(rb"<0x([0-9A-Fa-f]{2})>")


class Vocabulary:
    """The bytes of every token. ``special`` tokens (ends, roles) are no text."""

    def __init__(self, pieces: Sequence[bytes], special: Collection[int]) -> None:
        self.pieces = pieces
        self.special = frozenset(special)
        self.longest = max(map(len, pieces), default=1)
        """Bytes of the longest piece: no text has fewer tokens than its bytes divided by this."""

    def __len__(self) -> int:
        return len(self.pieces)

    def bytes(self, token: int) -> bytes:
        """What a token adds to the text."""
        if token in self.special or not 0 <= token < len(self.pieces):
            return b""
        return self.pieces[token]

    def name(self, token: int) -> str:
        """A token as people read it; special ones too."""
        return self.pieces[token].decode(errors="replace") if 0 <= token < len(self.pieces) else ""


def piece_table(vocabulary: Mapping[bytes, int]) -> list[bytes]:
    """The bytes of each id. SentencePiece's vocabularies spell spaces and single bytes out; byte-level ones do not."""
    pieces = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for piece, token in vocabulary.items():
        pieces[token] = piece
    if b"<0x0A>" in vocabulary:
        return [_unspell(piece) for piece in pieces]
    return pieces


def _unspell(piece: bytes) -> bytes:
    byte = _BYTE.fullmatch(piece)
    return bytes.fromhex(byte[1].decode()) if byte else piece.replace(_SPACE, b" ")


class Detokenizer:
    """Text of a growing sequence. A character whose bytes are spread over tokens comes with the last of them; one that
    never gets whole does not come at all."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, tokens: Iterable[int]) -> str:
        return self._decoder.decode(b"".join(map(self._vocabulary.bytes, tokens)))

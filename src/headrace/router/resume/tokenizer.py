"""A worker's ``/tokenize``."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.errors import NotResumable, ProtocolError
from headrace.wire.client import Origin, fetch

_PATH = "/tokenize"
_SECONDS = 15.0
"""A busy worker is slow, but the client waits already."""


class _Tokens(msgspec.Struct):
    tokens: list[int]


class RemoteTokenizer:
    """Counts as the worker that is to go on with the stream counts. ``headers``: what it demands of its callers."""

    def __init__(self, origin: Origin, headers: list[tuple[bytes, bytes]]) -> None:
        self._origin = origin
        self._headers = [*headers, (b"content-type", b"application/json")]

    async def __call__(self, asked: dict[str, Any]) -> list[int]:
        """The tokens. Raises NotResumable where the engine has no such endpoint or refuses, and WireError."""
        answer = await fetch(
            self._origin, "POST", _PATH, headers=self._headers, body=msgspec.json.encode(asked), timeout=_SECONDS
        )
        if answer.status >= 500:
            raise ProtocolError(f"{self._origin.name} answers {_PATH} with status {answer.status}")
        if answer.status != 200:
            raise NotResumable("engine", "its engine cannot go on with a text")
        try:
            return msgspec.json.decode(answer.body, type=_Tokens).tokens
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise NotResumable("engine", "its engine does not tell its tokens") from None

"""Texts to token ids and back, in threads: the tokeniser works outside of Python's lock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from tokenizers import Tokenizer

from headrace.errors import ModelError
from headrace.workers.bert.folder import ModelFolder

T = TypeVar("T")

_THREADS = 2
"""More than one, so that one huge text holds up nobody."""
_PIECE_TEXTS = 64
_PIECE_CHARACTERS = 64 * 1024


class Tokens:
    """The tokeniser of a model folder."""

    def __init__(self, folder: ModelFolder) -> None:
        """Raises ModelError where ``tokenizer.json`` cannot be used."""
        self._whole = _load(folder)
        self._cut = _load(folder)
        self._cut.enable_truncation(folder.context)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="tokenise")

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def encode_many(self, texts: Sequence[str], *, truncate: bool = False) -> AsyncIterator[list[list[int]]]:
        """The ids of ``texts``, special tokens included, piece by piece: the first can be computed meanwhile.

        With ``truncate`` each is cut to the model's longest input.
        """
        tokenizer = self._cut if truncate else self._whole
        for piece in _pieces(texts):
            yield await self._run(partial(_ids, tokenizer, piece))

    async def encode(self, text: str, *, special: bool) -> tuple[list[int], list[str]]:
        """Ids and tokens of one text."""
        encoding = await self._run(partial(self._whole.encode, text, add_special_tokens=special))
        return encoding.ids, encoding.tokens

    async def decode(self, ids: list[int]) -> str:
        return await self._run(partial(self._whole.decode, ids, skip_special_tokens=False))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _load(folder: ModelFolder) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(folder.tokenizer))
    except Exception as error:  # noqa: BLE001  the library raises bare Exception for every fault of the file
        raise ModelError(f"{folder.tokenizer}: cannot be used: {error}; pull the model again") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


def _pieces(texts: Sequence[str]) -> list[list[str]]:
    pieces: list[list[str]] = []
    size = _PIECE_CHARACTERS
    for text in texts:
        if size >= _PIECE_CHARACTERS or len(pieces[-1]) == _PIECE_TEXTS:
            pieces.append([])
            size = 0
        pieces[-1].append(text)
        size += len(text)
    return pieces

"""Texts to token ids and back, in threads: the tokeniser works outside of Python's lock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

from tokenizers import Encoding, Tokenizer

from headrace.errors import ModelError
from headrace.workers.bert.folder import ModelFolder

Text = str | tuple[str, str]
"""One text, or two that the model reads as a pair."""

T = TypeVar("T")

_THREADS = 2
"""More than one, so that one huge text holds up nobody."""
_PIECE_TEXTS = 16
"""A short call waits for one piece of each other call at most."""
_PIECE_CHARACTERS = 16 * 1024


class Ids(NamedTuple):
    """Token ids of a row, and where its second text begins; their number where it has none."""

    ids: list[int]
    second: int


class Tokens:
    """The tokeniser of a model folder."""

    def __init__(self, folder: ModelFolder) -> None:
        """Raises ModelError where ``tokenizer.json`` cannot be used."""
        self._tokenizer = _load(folder)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="tokenise")

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def special(self, *, pair: bool) -> int:
        """How many special tokens a row gets."""
        return int(self._tokenizer.num_special_tokens_to_add(pair))

    async def encode_many(self, texts: Sequence[Text], *, limit: int | None = None) -> AsyncIterator[list[Ids]]:
        """The ids of ``texts``, special tokens included, piece by piece: the first can be computed meanwhile.

        With a ``limit`` each is cut to so many tokens at most; of a pair, the longer text is cut first.
        """
        for piece in _pieces(texts):
            if limit is None:
                yield await self._run(partial(_whole, self._tokenizer, piece))
            else:
                yield await self._run(partial(_cut, self._tokenizer, piece, limit))

    async def encode(self, text: str, *, special: bool) -> tuple[list[int], list[str]]:
        """Ids and tokens of one text."""
        encoding = await self._run(partial(self._tokenizer.encode, text, add_special_tokens=special))
        return encoding.ids, encoding.tokens

    async def decode(self, ids: list[int]) -> str:
        return await self._run(partial(self._tokenizer.decode, ids, skip_special_tokens=False))

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


def _whole(tokenizer: Tokenizer, texts: list[Text]) -> list[Ids]:
    pairs = isinstance(texts[0], tuple)
    return [_row(encoding, pairs) for encoding in tokenizer.encode_batch_fast(texts)]


def _cut(tokenizer: Tokenizer, texts: list[Text], limit: int) -> list[Ids]:
    """Special tokens are added after the cut, so that they stay."""
    pairs = isinstance(texts[0], tuple)
    room = limit - tokenizer.num_special_tokens_to_add(pairs)
    firsts = [text if isinstance(text, str) else text[0] for text in texts]
    encodings = tokenizer.encode_batch_fast(firsts, add_special_tokens=False)
    if not pairs:
        for encoding in encodings:
            encoding.truncate(room)
        return [_row(tokenizer.post_process(encoding), False) for encoding in encodings]
    seconds = tokenizer.encode_batch_fast([text[1] for text in texts], add_special_tokens=False)
    rows = []
    for first, second in zip(encodings, seconds, strict=True):
        lengths = _share(room, len(first), len(second))
        first.truncate(lengths[0])
        second.truncate(lengths[1])
        rows.append(_row(tokenizer.post_process(first, second), True))
    return rows


def _share(room: int, first: int, second: int) -> tuple[int, int]:
    """The lengths that two texts keep: tokens are taken from the longer one until both are equal.

    transformers' strategy "longest_first", as its fast tokenisers compute it.
    """
    if first + second <= room:
        return first, second
    short, long = sorted((first, second))
    long = max(short, room - short)
    if short + long > room:
        short, long = room // 2, room - room // 2
    return (short, long) if first <= second else (long, short)


def _row(encoding: Encoding, pair: bool) -> Ids:
    ids = encoding.ids
    if not pair:
        return Ids(ids, len(ids))
    types = encoding.type_ids
    return Ids(ids, types.index(1) if 1 in types else len(ids))


def _pieces(texts: Sequence[Text]) -> list[list[Text]]:
    pieces: list[list[Text]] = []
    size = _PIECE_CHARACTERS
    for text in texts:
        if size >= _PIECE_CHARACTERS or len(pieces[-1]) == _PIECE_TEXTS:
            pieces.append([])
            size = 0
        pieces[-1].append(text)
        size += len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
    return pieces

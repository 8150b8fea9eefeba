from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from headrace.errors import ModelError
from headrace.workers.bert import folder
from headrace.workers.bert.tokens import Ids, Text, Tokens


@pytest_asyncio.fixture
async def tokens(tiny: Path) -> AsyncIterator[Tokens]:
    it = Tokens(folder.read(tiny))
    yield it
    it.close()


async def pieces(tokens: Tokens, texts: list[str], *, limit: int | None = None) -> list[list[list[int]]]:
    found = [piece async for piece in tokens.encode_many(texts, limit=limit)]
    assert all(row.second == len(row.ids) for piece in found for row in piece)
    return [[row.ids for row in piece] for piece in found]


async def test_texts_get_their_special_tokens(tokens: Tokens) -> None:
    assert await pieces(tokens, ["w0 w1", "", "w7"]) == [[[1, 4, 5, 2], [1, 2], [1, 11, 2]]]


async def test_no_text_is_cut_or_padded_unless_asked(tokens: Tokens) -> None:
    assert await pieces(tokens, ["w3 " * 40, "w1"]) == [[[1, *[7] * 40, 2], [1, 5, 2]]]


async def test_cut_texts_keep_their_special_tokens(tokens: Tokens) -> None:
    assert await pieces(tokens, ["w3 " * 40], limit=16) == [[[1, *[7] * 14, 2]]]


async def test_many_texts_come_in_pieces_and_in_order(tokens: Tokens) -> None:
    found = await pieces(tokens, [f"w{number % 8}" for number in range(40)])
    assert [len(piece) for piece in found] == [16, 16, 8]
    assert [ids[1] - 4 for piece in found for ids in piece] == [number % 8 for number in range(40)]


async def test_long_texts_make_shorter_pieces(tokens: Tokens) -> None:
    found = await pieces(tokens, ["w0 " * 5_000, "w1 " * 5_000, "w2 " * 5_000])
    assert [len(piece) for piece in found] == [2, 1]


async def test_no_texts_are_no_pieces(tokens: Tokens) -> None:
    assert await pieces(tokens, []) == []


async def test_pairs_are_one_row_and_tell_where_the_second_begins(tokens: Tokens) -> None:
    (piece,) = [piece async for piece in tokens.encode_many([("w0 w1", "w2"), ("w0", "")])]
    assert piece == [Ids([1, 4, 5, 2, 6, 2], 4), Ids([1, 4, 2, 2], 3)]


async def test_of_a_pair_the_longer_text_is_cut(tokens: Tokens) -> None:
    pairs: list[Text] = [("w0 " * 9, "w1 w1"), ("w0 w0", "w1 " * 9), ("w0 " * 9, "w1 " * 9)]
    (piece,) = [piece async for piece in tokens.encode_many(pairs, limit=10)]
    assert [len(row.ids) for row in piece] == [10, 10, 10]
    assert [(row.ids.count(4), row.ids.count(5)) for row in piece] == [(5, 2), (2, 5), (3, 4)]


async def test_special_tokens_can_be_left_out(tokens: Tokens) -> None:
    assert await tokens.encode("w0 nonsense", special=False) == ([4, 0], ["w0", "[UNK]"])
    assert await tokens.encode("w0", special=True) == ([1, 4, 2], ["[CLS]", "w0", "[SEP]"])


async def test_ids_become_text(tokens: Tokens) -> None:
    assert await tokens.decode([1, 4, 5, 2]) == "[CLS] w0 w1 [SEP]"


def test_a_broken_tokenizer_is_named(tiny: Path) -> None:
    (tiny / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer.json: cannot be used: .*pull the model again"):
        Tokens(folder.read(tiny))

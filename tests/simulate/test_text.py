"""Chained hashes of made-up prompts, and the header that is cut from them."""

from __future__ import annotations

from headrace.router.scheduling.prefix_index import cut
from headrace.simulate.text import BLOCK, Text, header


def test_texts_share_hashes_as_far_as_they_share_pieces() -> None:
    system = Text().plus("system", 100)
    one, two = system.plus("one", 200), system.plus("two", 200)
    assert one.keys[0] == two.keys[0]
    assert one.keys[1] != two.keys[1]
    assert one.tokens == 300
    assert len(one.keys) == 300 // BLOCK


def test_same_piece_at_another_place_is_another_text() -> None:
    early = Text().plus("a", 64).plus("document", 64)
    late = Text().plus("b", 128).plus("document", 64)
    assert early.keys[1] != late.keys[2]


def test_a_text_in_one_piece_or_in_turns_goes_on_with_the_same_hashes() -> None:
    begun = Text().plus("a", 130)
    assert begun.plus("b", 500).keys[:2] == begun.keys
    assert begun.plus("b", 500).plus("c", 1).keys == begun.plus("b", 500).keys


def test_header_has_blocks_that_grow() -> None:
    keys = Text().plus("a", BLOCK * (64 + 64 * 4 + 16 * 3)).keys
    blocks = cut(header(keys))
    assert blocks[:64] == list(keys[:64])
    assert blocks[64] == keys[67]
    assert len(blocks) == 64 + 64 + 3
    assert blocks[-1] == keys[-1]

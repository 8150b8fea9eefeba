from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headrace.workers.cpu.detokenize import Detokenizer, Vocabulary, piece_table

BYTES = Vocabulary([bytes([value]) for value in range(256)] + [b"<|end|>", "wörld".encode()], {256})


def test_a_character_comes_with_the_last_of_its_bytes() -> None:
    detokenizer = Detokenizer(BYTES)
    pieces = [detokenizer.feed((byte,)) for byte in "a€🇩".encode()]
    assert pieces == ["a", "", "", "€", "", "", "", "🇩"]


def test_a_character_that_never_gets_whole_does_not_come() -> None:
    detokenizer = Detokenizer(BYTES)
    assert detokenizer.feed("ab€".encode()[:-1]) == "ab"


def test_bytes_that_are_no_text_are_replaced_once_that_is_clear() -> None:
    detokenizer = Detokenizer(BYTES)
    assert detokenizer.feed((0xE2, 0x41)) == "\ufffdA"


def test_special_and_unknown_tokens_are_no_text() -> None:
    detokenizer = Detokenizer(BYTES)
    assert detokenizer.feed((104, 256, 105, 9999)) == "hi"
    assert BYTES.name(256) == "<|end|>"
    assert BYTES.name(9999) == ""
    assert BYTES.name(0xE2) == "\ufffd"


def test_longest_piece_bounds_the_number_of_tokens() -> None:
    assert BYTES.longest == len(b"<|end|>")
    assert len(BYTES) == 258


@given(text=st.text(max_size=30), cuts=st.lists(st.integers(0, 120), max_size=8))
def test_cuts_do_not_matter(text: str, cuts: list[int]) -> None:
    data = text.encode("utf-8", "ignore")
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    detokenizer = Detokenizer(BYTES)
    out = "".join(detokenizer.feed(data[a:b]) for a, b in pairwise(borders))
    assert out == data.decode()


def test_byte_level_vocabulary_is_taken_as_it_is() -> None:
    assert piece_table({b"b": 1, b" a": 0, b"\xe2\x96\x81": 3}) == [b" a", b"b", b"", b"\xe2\x96\x81"]


def test_sentencepiece_vocabulary_is_spelled_out() -> None:
    vocabulary = {"▁hello".encode(): 0, b"<0x0A>": 1, b"<0xE2>": 2, b"<0xZZ>": 3, "a▁b".encode(): 4}
    assert piece_table(vocabulary) == [b" hello", b"\n", b"\xe2", b"<0xZZ>", b"a b"]


def test_empty_vocabulary() -> None:
    assert piece_table({}) == []

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.workers.cpu.stop import StopStrings


def run(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    matcher = StopStrings(stops)
    out = ""
    for piece in pieces:
        text, found = matcher.feed(piece)
        out += text
        if found:
            return out, True
    return out + matcher.flush(), False


@pytest.mark.parametrize(
    ("stops", "pieces", "text", "found"),
    [
        ([], ["a", "b"], "ab", False),
        (["END"], ["one END two"], "one ", True),
        (["END"], ["one E", "N", "D two"], "one ", True),
        (["END"], ["one E", "N", "X"], "one ENX", False),
        (["END"], ["one EN"], "one EN", False),
        (["END"], ["EEEN", "EEND"], "EEENE", True),
        (["aab"], ["aaa", "ab"], "aa", True),
        (["\n\n"], ["a\n", "b\n", "\nc"], "a\nb", True),
        (["b", "abc"], ["ab", "c"], "a", True),
        (["abc", "bd"], ["ab", "d"], "a", True),
        (["é"], ["caf", "é", "!"], "caf", True),
    ],
)
def test_stop_strings(stops: list[str], pieces: list[str], text: str, found: bool) -> None:
    assert run(stops, pieces) == (text, found)


def test_the_stop_that_begins_first_counts() -> None:
    matcher = StopStrings(["world", "o w"])
    assert matcher.feed("hello world") == ("hell", True)
    assert matcher.found == "o w"


def test_text_that_cannot_become_a_stop_goes_out_at_once() -> None:
    matcher = StopStrings(["END"])
    assert matcher.feed("one ") == ("one ", False)
    assert matcher.feed("E") == ("", False)
    assert matcher.feed("x") == ("Ex", False)


@given(
    text=st.text(alphabet="abc", max_size=40),
    stop=st.text(alphabet="abc", min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 40), max_size=10),
)
def test_cuts_do_not_matter(text: str, stop: str, cuts: list[int]) -> None:
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(borders)]
    before, found, _ = text.partition(stop)
    assert run([stop], pieces) == (before, bool(found))


@given(
    pieces=st.lists(st.text(alphabet="abc", max_size=4), max_size=15),
    stops=st.lists(st.text(alphabet="abc", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_nothing_of_a_stop_ever_leaks(pieces: list[str], stops: list[str]) -> None:
    matcher = StopStrings(stops)
    out = ""
    for piece in pieces:
        text, found = matcher.feed(piece)
        out += text
        assert not any(stop in out for stop in stops)
        if found:
            assert "".join(pieces).startswith(out)
            return
    assert out + matcher.flush() == "".join(pieces)

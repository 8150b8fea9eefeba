"""White space and stop strings across the seam."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.router.resume.seam import Seam


def run(seam: Seam, *texts: str) -> str:
    out = "".join(map(seam.feed, texts))
    return out if seam.stopped else out + seam.flush()


@pytest.mark.parametrize(
    ("space", "texts", "expected"),
    [
        (" ", [" b"], "b"),
        ("\n\n", ["\n", "\n", "b"], "b"),
        ("\n\n", ["\n\nb"], "b"),
        ("\n", ["b"], "b"),
        ("\n", [" b"], " b"),
        ("\n\n", ["\n b"], " b"),
        (" ", ["", " ", " b"], " b"),
        ("", [" b"], " b"),
    ],
)
def test_white_space_that_comes_again_is_swallowed(space: str, texts: list[str], expected: str) -> None:
    assert run(Seam(f"a{space}", space, []), *texts) == expected


@pytest.mark.parametrize(
    ("before", "texts", "expected", "stopped"),
    [
        ("text ST", ["OP more"], "", "STOP"),
        ("text ST", ["O", "P", "more"], "", "STOP"),
        ("text ST", ["O", "K"], "OK", None),
        ("text ST", ["O"], "O", None),
        ("text", ["ST", "OP"], "STOP", None),  # all of it is new: the worker's own affair
        ("STOP", ["x"], "x", None),
        ("ST", ["OP"], "", "STOP"),  # less was sent than a stop string is long
        ("S", ["STOP"], "STOP", None),
        ("", ["OP"], "OP", None),
    ],
)
def test_stop_string_across_the_seam(before: str, texts: list[str], expected: str, stopped: str | None) -> None:
    seam = Seam(before, "", ["STOP"])
    assert run(seam, *texts) == expected
    assert seam.stopped == stopped


def test_what_the_client_wants_of_it() -> None:
    assert run(Seam("text ST", "", ["STOP"], keep_stop=True), "OP more") == "OP"


def test_a_whole_one_wins_over_one_that_may_become_whole() -> None:
    seam = Seam("abc", "", ["abcdefgh", "cd"])
    assert (run(seam, "d"), seam.stopped) == ("", "cd")


@given(
    st.text("ab\n ", max_size=12),
    st.text("ab\n ", max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
    st.integers(0, 12),
    st.randoms(use_true_random=False),
)
def test_whole_text_is_as_one_worker_would_have_written_it(
    first: str, second: str, stops: list[str], trimmed: int, rng: object
) -> None:
    """However the text is cut: it ends at the first stop string that is complete, and nothing is lost or doubled."""
    text, cut = first + second, len(first)
    ends = [start + len(stop) for stop in stops if (start := text.find(stop)) >= 0]
    if ends and min(ends) <= cut:
        return  # it ended before the seam
    space = first[len(first.rstrip()) :]
    seam = Seam(first, space, stops)
    out = ""
    for character in space + second:
        out += seam.feed(character)
        if seam.stopped:
            break
    else:
        out += seam.flush()
    across = [start + len(stop) for stop in stops for start in range(cut) if text.startswith(stop, start)]
    across = [end for end in across if end > cut]
    if across:
        assert seam.stopped
        assert out == ""
    else:
        assert (seam.stopped, first + out) == (None, text)

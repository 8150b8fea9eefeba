from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.errors import InvalidRequest
from headrace.openai.rules import Rules
from headrace.openai.score import ScoreRequest


def make(first: Any, second: Any) -> ScoreRequest:
    request = ScoreRequest.decode(json.dumps({"model": "m", "text_1": first, "text_2": second}).encode())
    request.check(Rules(inputs=3))
    return request


@pytest.mark.parametrize(
    ("first", "second"), [("a", "b"), ("a", ["b", "c"]), (["a"], ["b", "c"]), (["a", "b"], ["c", "d"])]
)
def test_pairs(first: Any, second: Any) -> None:
    assert json.loads(make(first, second).encode("m")) == {"model": "m", "text_1": first, "text_2": second}


def test_what_is_read_counts() -> None:
    assert make("a", ["b", "c"]).text() == b"a\0b\0c"


@pytest.mark.parametrize(
    ("first", "second", "param"),
    [
        ("", "b", "text_1"),
        ("a", [], "text_2"),
        ("a", ["b", ""], "text_2[1]"),
        (["a", "b"], ["c"], "text_1"),
        (["a", "b"], ["c", "d", "e"], "text_1"),
        ("a", ["b"] * 4, "text_2"),
        (1, "b", "text_1"),
        ("a", None, "text_2"),
    ],
)
def test_bad_pairs_are_named(first: Any, second: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(first, second)
    assert caught.value.param == param

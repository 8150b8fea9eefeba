from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.errors import InvalidRequest
from headrace.openai.embedding import EmbeddingRequest
from headrace.openai.rules import Rules


def make(rules: Rules | None = None, **fields: Any) -> EmbeddingRequest:
    request = EmbeddingRequest.decode(msgspec.json.encode({"model": "m", "input": "hi", **fields}))
    request.check(rules or Rules())
    return request


@pytest.mark.parametrize("value", ["text", ["a", "b"], [1, 2], [[1], [2, 3]]])
def test_every_form_of_input_goes_out_as_it_came_in(value: Any) -> None:
    sent = msgspec.json.decode(make(input=value, encoding_format="base64", dimensions=64).encode("real"))
    assert sent == {"model": "real", "input": value, "encoding_format": "base64", "dimensions": 64}


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"input": ""}, "input", "must not be empty"),
        ({"input": {"text": "x"}}, "input", "must be a string or an array, not an object"),
        ({"input": ["a"] * 3}, "input", "at most 2 items, not 3"),
        ({"encoding_format": "hex"}, "encoding_format", "must be one of float, base64"),
        ({"dimensions": 0}, "dimensions", "at least 1"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(Rules(inputs=2), **fields)
    assert caught.value.param == param
    assert words in caught.value.message

"""Bodies of requests, and the options that every endpoint has."""

from __future__ import annotations

import pytest

from headrace.errors import ApiError, InvalidRequest, NotFound
from headrace.workers.bert import requests
from headrace.workers.bert.embedding import CHOICES, EmbeddingBody
from headrace.workers.bert.requests import Options, TokenizeBody


@pytest.mark.parametrize(
    ("body", "error", "param"),
    [
        (b"[1]", InvalidRequest, None),
        (b"{", InvalidRequest, None),
        (rb'{"model": "m", "input": "\ud800"}', InvalidRequest, None),
        (b'{"model": "m"}', InvalidRequest, "input"),
        (b'{"input": "a"}', InvalidRequest, "model"),
        (b'{"model": "m", "input": {"text": "a"}}', InvalidRequest, "input"),
        (b'{"model": "m", "input": ["a", null]}', InvalidRequest, "input[1]"),
        (b'{"model": "m", "input": [[1, 2.5]]}', InvalidRequest, "input[0][1]"),
        (b'{"model": "m", "input": "a", "encoding_format": "hex"}', InvalidRequest, "encoding_format"),
        (b'{"model": "m", "input": "a", "dimensions": 0}', InvalidRequest, "dimensions"),
        (b'{"model": "m", "input": "a", "truncate": 1}', InvalidRequest, "truncate"),
        (b'{"model": "other", "input": "a"}', NotFound, "model"),
    ],
)
def test_a_wrong_field_is_named(body: bytes, error: type[ApiError], param: str | None) -> None:
    with pytest.raises(error) as caught:
        requests.read(body, EmbeddingBody, "m", CHOICES)
    assert caught.value.param == param


def test_the_model_may_be_left_out_where_vllm_lets_it() -> None:
    assert requests.read(b'{"prompt": "a"}', TokenizeBody, "m")[0].prompt == "a"
    with pytest.raises(NotFound, match="serves 'm'"):
        requests.read(b'{"prompt": "a", "model": "x"}', TokenizeBody, "m")


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        (Options(), None),
        (Options(truncate=False), None),
        (Options(truncate=True), 256),
        (Options(truncate_prompt_tokens=-1), 256),
        (Options(truncate_prompt_tokens=100), 100),
        (Options(truncate_prompt_tokens=256, truncate=False), 256),
    ],
)
def test_inputs_are_cut_only_where_that_is_asked_for(options: Options, limit: int | None) -> None:
    assert options.limit(256, 2) == limit


@pytest.mark.parametrize("wanted", [0, 2, 257])
def test_a_cut_that_leaves_nothing_or_too_much_is_refused(wanted: int) -> None:
    with pytest.raises(InvalidRequest, match="truncate_prompt_tokens: must be -1, or from 3 to 256"):
        Options(truncate_prompt_tokens=wanted).limit(256, 2)

"""The properties that every endpoint's request has."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ApiError, InvalidRequest
from headrace.openai.chat import ChatRequest
from headrace.openai.completion import CompletionRequest
from headrace.openai.embedding import EmbeddingRequest
from headrace.openai.request import Request
from headrace.openai.rules import FORBIDDEN, Rules

RULES = Rules()
VALID: dict[type[Request[Any]], dict[str, Any]] = {
    ChatRequest: {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    CompletionRequest: {"model": "m", "prompt": "hi"},
    EmbeddingRequest: {"model": "m", "input": "hi"},
}
ENDPOINTS = pytest.mark.parametrize("kind", VALID)
GENERATING = pytest.mark.parametrize("kind", [ChatRequest, CompletionRequest])

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
extras = st.dictionaries(st.text(max_size=12).map("x_".__add__), values, max_size=6)
known = st.sampled_from(sorted({name for kind in VALID for name in kind.kind.__struct_fields__} | FORBIDDEN))


def make(kind: type[Request[Any]], **fields: Any) -> Request[Any]:
    request = kind.decode(msgspec.json.encode({**VALID[kind], **fields}))
    request.check(RULES)
    return request


def refused(kind: type[Request[Any]], **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        make(kind, **fields)
    return caught.value


@ENDPOINTS
@given(extra=extras)
def test_extras_go_out_as_they_came_in(kind: type[Request[Any]], extra: dict[str, Any]) -> None:
    request = make(kind, **extra)
    assert msgspec.json.decode(request.encode("resolved")) == {**VALID[kind], **extra, "model": "resolved"}


@ENDPOINTS
@given(body=st.binary(max_size=100))
def test_arbitrary_bytes_raise_only_api_errors(kind: type[Request[Any]], body: bytes) -> None:
    with pytest.raises(ApiError):  # a valid request does not fit into so few random bytes
        kind.decode(body).check(RULES)


@ENDPOINTS
@given(fields=st.dictionaries(known, values, max_size=5))
def test_arbitrary_values_raise_only_api_errors(kind: type[Request[Any]], fields: dict[str, Any]) -> None:
    try:
        request = make(kind, **fields)
    except InvalidRequest as error:
        msgspec.json.decode(error.body())
        return
    again = kind.decode(request.encode("m"))
    again.check(RULES)
    assert again.encode("m") == request.encode("m")


@ENDPOINTS
@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_another_tenants_power_is_refused(kind: type[Request[Any]], name: str) -> None:
    error = refused(kind, **{name: 1})
    assert error.param == name
    assert "remove it" in error.message


def test_a_rule_may_allow_it() -> None:
    request = ChatRequest.decode(msgspec.json.encode({**VALID[ChatRequest], "priority": 3}))
    request.check(Rules(forbidden=FORBIDDEN - {"priority"}))
    assert msgspec.json.decode(request.encode("m"))["priority"] == 3


@ENDPOINTS
@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"model": None}, "model", "must be a string, not null"),
        ({"model": 3}, "model", "must be a string, not an integer"),
        ({"model": ""}, "model", "must have at least 1 characters"),
        ({"model": "x" * 513}, "model", "must have at most 512 characters"),
        ({"user": 7}, "user", "must be a string, not an integer"),
        ({"top_k": 10**30}, "top_k", "at most 64 bits"),
        ({"x" * 5000: 10**30}, "x" * 64, "at most 64 bits"),
    ],
)
def test_wrong_fields_are_named(kind: type[Request[Any]], fields: dict[str, Any], param: str, words: str) -> None:
    error = refused(kind, **fields)
    assert error.param == param
    assert words in error.message


@ENDPOINTS
def test_the_model_is_required(kind: type[Request[Any]]) -> None:
    with pytest.raises(InvalidRequest, match="model: is required") as caught:
        kind.decode(b"{}")
    assert caught.value.param == "model"


@GENERATING
@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"n": 17}, "n", "must be at most 16, not 17"),
        ({"n": 0}, "n", "must be an integer, at least 1"),
        ({"n": True}, "n", "must be an integer, not true or false"),
        ({"n": 1.5}, "n", "must be an integer, not a number"),
        ({"n": 10**30}, "n", "at most 2147483647"),
        ({"best_of": 17}, "best_of", "must be at most 16"),
        ({"n": 3, "best_of": 2}, "best_of", "at least n, which is 3"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"max_tokens": "5"}, "max_tokens", "must be an integer, not a string"),
        ({"temperature": 2.1}, "temperature", "must be a number, at most 2."),
        ({"temperature": -0.1}, "temperature", "at least 0"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"top_p": 1.01}, "top_p", "at most 1"),
        ({"presence_penalty": 3}, "presence_penalty", "at most 2"),
        ({"logit_bias": {"5": 101}}, "logit_bias[...]", "at most 100"),
        ({"prompt_logprobs": 21}, "prompt_logprobs", "at most 20"),
        ({"prompt_logprobs": -1}, "prompt_logprobs", "at least 0"),
        ({"seed": 2**63}, "seed", "at most"),
        ({"stop": ["a"] * 17}, "stop", "at most 16 strings"),
        ({"stop": ["a", ""]}, "stop", "empty string"),
        ({"stop": 5}, "stop", "must be a string or an array"),
        ({"stop_token_ids": [1] * 17}, "stop_token_ids", "at most 16"),
        ({"stream": "yes"}, "stream", "must be true or false, not a string"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "only allowed with stream"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "true or false"),
    ],
)
def test_bounds_of_generation(kind: type[Request[Any]], fields: dict[str, Any], param: str, words: str) -> None:
    error = refused(kind, **fields)
    assert error.param == param
    assert words in error.message


@GENERATING
def test_null_means_left_out(kind: type[Request[Any]]) -> None:
    names = ("stream", "stream_options", "max_tokens", "n", "best_of", "stop", "temperature", "top_p", "seed", "user")
    request: Any = make(kind, **dict.fromkeys(names))
    assert (request.stream, request.wants_usage, request.n, request.output_cap) == (False, False, 1, None)


@GENERATING
def test_best_of_counts_as_sequences(kind: type[Request[Any]]) -> None:
    request: Any = make(kind, n=2, best_of=5)
    assert request.n == 5


@GENERATING
def test_a_stream_is_always_asked_for_its_usage(kind: type[Request[Any]]) -> None:
    request: Any = make(kind, stream=True, stream_options={"include_usage": False, "continuous_usage_stats": True})
    assert not request.wants_usage
    sent = msgspec.json.decode(request.encode("m"))
    assert sent["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


@GENERATING
def test_a_client_that_wants_usage_is_remembered(kind: type[Request[Any]]) -> None:
    request: Any = make(kind, stream=True, stream_options={"include_usage": True})
    assert request.wants_usage
    request.encode("m")
    assert request.wants_usage


@GENERATING
def test_an_answer_in_one_piece_gets_no_stream_options(kind: type[Request[Any]]) -> None:
    assert "stream_options" not in msgspec.json.decode(make(kind).encode("m"))


@GENERATING
def test_defaults_fill_only_what_is_open(kind: type[Request[Any]]) -> None:
    request = make(kind, temperature=0.1, top_p=None)
    request.apply_defaults({"temperature": 0.9, "top_p": 0.5, "seed": 4, "top_k": 20})
    request.check(RULES)
    sent = msgspec.json.decode(request.encode("m"))
    assert (sent["temperature"], sent["top_p"], sent["seed"], sent["top_k"]) == (0.1, 0.5, 4, 20)
    assert request.fields.top_p == 0.5

"""What an alias makes of a request, and which model it chooses."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.api.aliases.alias import Alias, AliasFields
from headrace.api.dialects.responses import ResponsesRequest
from headrace.errors import ConfigError, InvalidRequest
from headrace.openai.chat import ChatRequest
from headrace.openai.completion import CompletionRequest
from headrace.openai.embedding import EmbeddingRequest
from headrace.openai.rules import Rules
from headrace.openai.tokens import TokenizeRequest

USER = {"role": "user", "content": "Hello"}


def alias(**fields: Any) -> Alias:
    given_fields = {"model": "m"} | fields if "targets" not in fields else fields
    return Alias("a", msgspec.convert(given_fields, AliasFields), Rules())


def chat(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    return ChatRequest({"model": "a", "messages": list(messages) or [USER], **fields})


def shaped(one: Alias, request: Any) -> dict[str, Any]:
    one.shape(request)
    document: dict[str, Any] = request.document
    return document


# ---- the choice ----


def test_weights_are_kept() -> None:
    one = alias(targets=[{"model": "old", "weight": 90}, {"model": "new", "weight": 10}, {"model": "no", "weight": 0}])
    points = iter(step / 1000 for step in range(1000))
    chosen = Counter(one.order("k", "", draw=lambda: next(points))[0] for _ in range(1000))
    assert chosen == {"old": 900, "new": 100}


def test_an_end_user_keeps_the_target() -> None:
    one = alias(targets=[{"model": "old"}, {"model": "new"}])
    per_user = {user: {one.order("k", str(user))[0] for _ in range(20)} for user in range(50)}
    assert all(len(models) == 1 for models in per_user.values())
    assert {model for models in per_user.values() for model in models} == {"old", "new"}


def test_the_last_target_is_within_reach_of_rounding() -> None:
    one = alias(targets=[{"model": "old", "weight": 3}, {"model": "new", "weight": 7}, {"model": "no", "weight": 0}])
    assert one.order("k", "", draw=lambda: 1.0)[0] == "new"


def test_fallbacks_follow_in_order_and_none_is_tried_twice() -> None:
    assert alias(fallbacks=["b", "m", "c"]).order("k", "") == ["m", "b", "c"]


# ---- what is added ----


def test_system_prompt_comes_first() -> None:
    document = shaped(alias(system="Be kind."), chat())
    assert document["messages"] == [{"role": "system", "content": "Be kind."}, USER]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_prompt_precedes_the_clients_own_in_one_message(role: str) -> None:
    document = shaped(alias(system="Be kind."), chat({"role": role, "content": "Be brief."}, USER))
    assert document["messages"] == [{"role": role, "content": "Be kind.\n\nBe brief."}, USER]


def test_system_prompt_precedes_the_parts_of_the_clients_own() -> None:
    own = {"type": "text", "text": "Be brief."}
    document = shaped(alias(system="Be kind."), chat({"role": "system", "content": [own]}))
    assert document["messages"][0]["content"] == [{"type": "text", "text": "Be kind."}, own]


def test_tokens_are_counted_with_the_system_prompt() -> None:
    document = shaped(alias(system="Be kind."), TokenizeRequest({"model": "a", "messages": [USER]}))
    assert document["messages"][0] == {"role": "system", "content": "Be kind."}


def test_a_plain_completion_cannot_slip_past_the_system_prompt() -> None:
    with pytest.raises(InvalidRequest, match="/v1/chat/completions"):
        alias(system="Be kind.").shape(CompletionRequest({"model": "a", "prompt": "x"}))


def test_what_generates_nothing_is_left_alone() -> None:
    one = alias(system="Be kind.", defaults={"temperature": 0.1})
    for document in ({"model": "a", "input": "x"}, {"model": "a", "prompt": "x"}):
        kind = EmbeddingRequest if "input" in document else TokenizeRequest
        assert shaped(one, kind(dict(document))) == document


def test_defaults_fill_what_is_open() -> None:
    document = shaped(alias(defaults={"temperature": 0.1, "top_k": 5}), chat(temperature=0.9))
    assert (document["temperature"], document["top_k"]) == (0.9, 5)


def test_a_bound_on_the_output_holds_where_the_client_set_none() -> None:
    one = alias(bounds={"max_tokens": {"max": 100}})
    assert shaped(one, chat())["max_tokens"] == 100
    assert "max_tokens" not in shaped(one, chat(max_completion_tokens=7))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"temperature": 0.1}, "temperature"),
        ({"top_k": 51}, "top_k"),
        ({"top_k": "many"}, "top_k"),
        ({"top_k": True}, "top_k"),
        ({"max_tokens": 101}, "max_tokens"),
        ({"max_completion_tokens": 101}, "max_completion_tokens"),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(fields: dict[str, Any], param: str) -> None:
    bounds = {"temperature": {"min": 0.2, "max": 1}, "top_k": {"max": 50}, "max_tokens": {"max": 100}}
    with pytest.raises(InvalidRequest) as caught:
        alias(bounds=bounds).shape(chat(**fields))
    assert caught.value.param == param


def test_a_bound_on_the_output_is_named_as_the_endpoint_names_it() -> None:
    request = ResponsesRequest.decode(b'{"model":"a","input":"Hello","max_output_tokens":101}')
    with pytest.raises(InvalidRequest) as caught:
        alias(bounds={"max_tokens": {"max": 100}}).shape(request)
    assert caught.value.param == "max_output_tokens"


def test_rules_are_the_aliass_own() -> None:
    one = alias(allow=["priority"], n=2, stop=1, media_hosts=["Pictures.example"])
    image = {"type": "image_url", "image_url": {"url": "https://pictures.example/x.png"}}
    one.shape(chat({"role": "user", "content": [image]}, priority=3))
    for refused in ({"cache_salt": "x"}, {"n": 3}, {"stop": ["a", "b"]}):
        with pytest.raises(InvalidRequest):
            one.shape(chat(**refused))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    fields=st.dictionaries(
        st.sampled_from(["temperature", "top_k", "max_tokens", "max_completion_tokens", "n", "stop", "system", "x"]),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    )
)
def test_whatever_is_sent_only_api_errors_are_raised(fields: dict[str, Any]) -> None:
    one = alias(system="s", defaults={"temperature": 0.5}, bounds={"max_tokens": {"max": 9}, "top_k": {"min": 1}})
    try:
        request = chat(**fields)
        one.shape(request)
    except InvalidRequest:
        return
    assert 0 < (request.output_cap or 0) <= 9


# ---- what makes no sense ----


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"targets": []}, "either model or targets"),
        ({"targets": [{"model": "x", "weight": 0}]}, "must have a weight"),
        ({"allow": ["temperature"]}, "needs no permission"),
        ({"defaults": {"messages": []}}, "cannot have a default"),
        ({"defaults": {"temperature": 9}}, "temperature: must be"),
        ({"defaults": {"temperature": 1}, "bounds": {"temperature": {"max": 0.5}}}, "at most 0.5"),
    ],
)
def test_an_alias_without_sense_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        alias(**fields)

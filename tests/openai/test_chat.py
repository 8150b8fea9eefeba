from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InvalidRequest
from headrace.openai.chat import ChatRequest
from headrace.openai.rules import FORBIDDEN, Rules

USER = {"role": "user", "content": "hi"}


def make(*messages: Any, rules: Rules | None = None, **fields: Any) -> ChatRequest:
    body = {"model": "m", "messages": list(messages) or [USER], **fields}
    request = ChatRequest.decode(msgspec.json.encode(body))
    request.check(rules or Rules())
    return request


def refused(*messages: Any, rules: Rules | None = None, **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        make(*messages, rules=rules, **fields)
    return caught.value


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def image(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


texts = st.text(max_size=20)
parts = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}, optional={"cache_control": st.just({"type": "x"})})
    | st.fixed_dictionaries(
        {"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": texts.map("data:".__add__)})}
    ),
    max_size=3,
)
calls = st.lists(
    st.fixed_dictionaries(
        {
            "id": texts,
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": texts, "arguments": texts}),
        }
    ),
    max_size=2,
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "tool"]), "content": texts | parts},
        optional={"name": texts, "x_extra": texts},
    )
    | st.fixed_dictionaries(
        {"role": st.just("assistant")}, optional={"content": st.none() | texts | parts, "tool_calls": calls}
    ),
    min_size=1,
    max_size=5,
)


@given(messages)
def test_messages_go_out_as_they_came_in(conversation: list[dict[str, Any]]) -> None:
    sent = msgspec.json.decode(make(*conversation).encode("m"))
    assert sent["messages"] == conversation


def test_opaque_parts_go_out_as_they_came_in() -> None:
    fields: dict[str, Any] = {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"a": [1, 2.5, None]}}},
        "guided_regex": "a+",
        "chat_template_kwargs": {"enable_thinking": False},
        "continue_final_message": True,
        "add_generation_prompt": False,
    }
    sent = msgspec.json.decode(make(USER, **fields).encode("m"))
    assert {name: sent[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("message", "param", "words"),
    [
        ({"content": "x"}, "messages[0].role", "is required"),
        ({"role": "robot", "content": "x"}, "messages[0].role", "must be one of system, developer, user, assistant"),
        ({"role": 1, "content": "x"}, "messages[0].role", "must be a string, not an integer"),
        ({"role": "x` - at `$.fake", "content": "x"}, "messages[0].role", "must be one of system"),
        ({"role": "user"}, "messages[0].content", "is required for the role user"),
        ({"role": "tool", "content": None}, "messages[0].content", "is required for the role tool"),
        ({"role": "user", "content": 5}, "messages[0].content", "must be a string or an array, not an integer"),
        (user({"type": "text"}), "messages[0].content[0].text", "is required"),
        (user({"type": "image_url"}), "messages[0].content[0].image_url", "is required"),
        (user({"text": "x"}), "messages[0].content[0].type", "is required"),
        (user({"type": "image_embeds", "image_embeds": "x"}), "messages[0].content[0].type", "must be one of text"),
        (
            {"role": "assistant", "tool_calls": [{"function": {}}]},
            "messages[0].tool_calls[0].function.name",
            "required",
        ),
        ("hi", "messages[0]", "must be an object, not a string"),
    ],
)
def test_wrong_messages_are_named(message: Any, param: str, words: str) -> None:
    error = refused(message)
    assert error.param == param
    assert words in error.message


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"messages": []}, "messages", "must have at least 1 items"),
        ({"messages": None}, "messages", "must be an array, not null"),
        ({"top_logprobs": 5}, "top_logprobs", "needs logprobs: true"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "at most 20"),
        ({"logprobs": 5}, "logprobs", "must be true or false, not an integer"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "at least 1"),
        ({"max_tokens": 5, "max_completion_tokens": 9}, "max_tokens", "send only one"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type", "is required"),
        ({"response_format": {}}, "response_format.type", "is required"),
        ({"chat_template_kwargs": {"chat_template": "x"}}, "chat_template_kwargs.chat_template", "not allowed"),
        ({"chat_template_kwargs": {"tokenize": False}}, "chat_template_kwargs.tokenize", "not allowed"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, Any], param: str, words: str) -> None:
    error = refused(USER, **fields)
    assert error.param == param
    assert words in error.message


def test_too_many_messages_are_refused() -> None:
    assert refused(USER, USER, USER, rules=Rules(messages=2)).param == "messages"


def test_templates_may_be_allowed() -> None:
    rules = Rules(forbidden=FORBIDDEN - {"chat_template"})
    make(chat_template_kwargs={"chat_template": "x"}, rules=rules)


def test_either_name_is_the_output_cap() -> None:
    assert make(max_tokens=5).output_cap == 5
    assert make(max_completion_tokens=6).output_cap == 6


def test_equal_caps_go_out_once() -> None:
    request = make(max_tokens=5, max_completion_tokens=5)
    sent = msgspec.json.decode(request.encode("m"))
    assert "max_tokens" not in sent
    assert sent["max_completion_tokens"] == request.output_cap == 5


def test_a_default_cap_gives_way_to_either_name() -> None:
    request = make(max_completion_tokens=6)
    request.apply_defaults({"max_tokens": 100})
    request.check(Rules())
    assert request.output_cap == 6
    assert "max_tokens" not in msgspec.json.decode(request.encode("m"))


@pytest.mark.parametrize("field", ["image_url", "video_url", "audio_url"])
def test_data_urls_are_allowed(field: str) -> None:
    make(user({"type": field, field: {"url": "data:image/png;base64,AAAA"}}))
    make(user({"type": field, field: "data:image/png;base64,AAAA"}))


@pytest.mark.parametrize("field", ["image_url", "video_url", "audio_url"])
def test_other_urls_are_refused_whatever_the_part_calls_itself(field: str) -> None:
    for part in ({"type": field, field: {"url": "http://10.0.0.1/"}}, {"type": "text", "text": "", field: "file:///x"}):
        error = refused(user(part))
        assert error.param == f"messages[0].content[0].{field}"
        assert "data: URL" in error.message


@pytest.mark.parametrize(
    "url", ["https://cdn.example.com/a.png", "http://CDN.example.com:8080", "http://cdn.example.com/"]
)
def test_a_listed_host_is_allowed(url: str) -> None:
    make(user(image(url)), rules=Rules(media_hosts=frozenset({"cdn.example.com"})))


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com/",
        "https://cdn.example.com.evil.org/",
        "https://cdn.example.com@evil.org/",
        "https://evil.org\\@cdn.example.com/",
        "https://evil.org#@cdn.example.com/",
        "https://cdn.example.com\n.evil.org/",
        " https://cdn.example.com/",
        "ftp://cdn.example.com/",
        "//cdn.example.com/",
        "",
    ],
)
def test_look_alikes_of_a_listed_host_are_refused(url: str) -> None:
    error = refused(user(image(url)), rules=Rules(media_hosts=frozenset({"cdn.example.com"})))
    assert "one of these hosts: cdn.example.com" in error.message


@pytest.mark.parametrize("part", [{"type": "text", "text": ""}, image("data:image/png;base64,AAAA")])
def test_a_name_that_a_medium_is_cached_under_is_refused(part: dict[str, Any]) -> None:
    """vLLM would take another tenant's medium for this one, or this one for theirs."""
    named = user({**part, "uuid": "theirs"})
    error = refused(USER, named)
    assert error.param == "messages[1].content[0].uuid"
    assert "remove it" in error.message
    sent = msgspec.json.decode(make(named, rules=Rules(forbidden=FORBIDDEN - {"cache_salt"})).encode("m"))
    assert sent["messages"] == [named]


def test_audio_carries_its_data() -> None:
    request = make(user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}))
    content = request.fields.messages[0].content
    assert isinstance(content, list)
    assert list(content[0].media()) == [("input_audio", "AAAA")]
    assert content[0].words() is None


def test_an_assistant_message_may_have_no_content() -> None:
    make(USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}, USER)

"""From Anthropic's request to a chat completion's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.api.dialects.messages import CountTokensRequest, MessagesRequest
from headrace.errors import InvalidRequest
from headrace.openai.rules import Rules

HELLO = {"role": "user", "content": "hi"}
WEATHER = {
    "name": "weather",
    "description": "of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}


def read(*messages: Any, rules: Rules | None = None, **fields: Any) -> dict[str, Any]:
    """What goes to the worker."""
    body = {"model": "m", "max_tokens": 9, "messages": list(messages) or [HELLO], **fields}
    request = MessagesRequest.decode(json.dumps(body).encode())
    request.check(rules or Rules())
    return dict(json.loads(request.encode("m")))


def refused(*messages: Any, rules: Rules | None = None, **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(*messages, rules=rules, **fields)
    return caught.value


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def result(content: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t1", "content": content, **more}


def test_plain_message() -> None:
    assert read() == {"model": "m", "max_tokens": 9, "messages": [HELLO], "stream": False}


@pytest.mark.parametrize(
    ("system", "content"),
    [("be brief", "be brief"), ([text("be brief")], "be brief"), ([text("a"), text("b")], [text("a"), text("b")])],
)
def test_system_prompt_comes_first(system: Any, content: Any) -> None:
    assert read(system=system)["messages"] == [{"role": "system", "content": content}, HELLO]


def test_system_message_stays_in_its_place() -> None:
    system = {"role": "system", "content": "now be brief"}
    assert read(HELLO, system, HELLO)["messages"] == [HELLO, system, HELLO]


@pytest.mark.parametrize(
    ("blocks", "content"),
    [
        ([text("a")], "a"),
        ([{**text("a"), "cache_control": {"type": "ephemeral"}}], "a"),
        ([text("a"), PNG], [text("a"), PNG_PART]),
        ([], [text("")]),
        (
            [{"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}],
            "T\nd",
        ),
        ([{"type": "document", "source": {"type": "content", "content": "d"}}], "d"),
        (
            [{"type": "document", "context": "C", "source": {"type": "content", "content": [text("d"), PNG]}}],
            [text("C\n"), text("d"), PNG_PART],
        ),
        ([{"type": "search_result", "source": "s", "title": "T", "content": [text("a"), text("b")]}], "T\ns\na\nb"),
    ],
)
def test_content_of_a_user(blocks: list[Any], content: Any) -> None:
    content = "" if content == [text("")] else content
    assert read(user(*blocks))["messages"] == [{"role": "user", "content": content}]


def test_tool_calls_and_their_results() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    answer = user(text("see:"), result([text("21"), text("sunny"), PNG]), result("failed", is_error=True), result())
    sent = read(HELLO, assistant(thought, hidden, text("I look"), use), answer)["messages"]
    function = {"name": "weather", "arguments": '{"city":"Bern"}'}
    assert sent[1:] == [
        {
            "role": "assistant",
            "content": "I look",
            "reasoning": "hm",
            "tool_calls": [{"id": "t1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "21\nsunny"},
        {"role": "tool", "tool_call_id": "t1", "content": "Error: failed"},
        {"role": "tool", "tool_call_id": "t1", "content": ""},
        {"role": "user", "content": [text("see:"), PNG_PART]},
    ]


def test_tool_input_that_was_no_json_goes_back_as_the_model_wrote_it() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "f", "input": {"INVALID_JSON": '{"a":'}}
    sent = read(HELLO, assistant(use), user(result("no")))["messages"]
    assert sent[1]["tool_calls"][0]["function"]["arguments"] == '{"a":'
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]


def test_assistants_beginning_is_continued() -> None:
    sent = read(HELLO, assistant(text("The answer is (")))
    assert sent["messages"][1] == {"role": "assistant", "content": "The answer is ("}
    assert (sent["add_generation_prompt"], sent["continue_final_message"]) == (False, True)


@pytest.mark.parametrize(
    ("choice", "fields"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}, "parallel_tool_calls": False},
        ),
    ],
)
def test_tools(choice: dict[str, Any], fields: dict[str, Any]) -> None:
    sent = read(tools=[WEATHER, {**WEATHER, "type": "custom", "strict": True}], tool_choice=choice)
    function = {"name": "weather", "description": "of a city", "parameters": WEATHER["input_schema"]}
    assert sent["tools"] == [
        {"type": "function", "function": function},
        {"type": "function", "function": {**function, "strict": True}},
    ]
    assert {name: sent[name] for name in sent.keys() & {"tool_choice", "parallel_tool_calls"}} == fields


def test_tool_choice_without_tools_is_nothing() -> None:
    assert "tool_choice" not in read(tool_choice={"type": "auto"})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"stop_sequences": ["a"]}, {"stop": ["a"]}),
        ({"temperature": 0.5, "top_p": 0.9, "top_k": 5}, {"temperature": 0.5, "top_p": 0.9, "top_k": 5}),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"chat_template_kwargs": {"enable_thinking": True}}),
        ({"thinking": {"type": "disabled"}}, {"chat_template_kwargs": {"enable_thinking": False}}),
        (
            {"thinking": {"type": "adaptive"}, "chat_template_kwargs": {"x": 1}},
            {"chat_template_kwargs": {"enable_thinking": True, "x": 1}},
        ),
        ({"output_config": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "high"}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "output", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        ({"seed": 3, "min_p": 0.1, "repetition_penalty": None}, {"seed": 3, "min_p": 0.1}),
        ({"service_tier": "auto", "context_management": {"edits": []}, "cache_control": {"type": "ephemeral"}}, {}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    ],
)
def test_other_fields(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read(**fields) == {**read(), **expected}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"stop_sequences": ["x"] * 17}, "stop_sequences"),
        ({"system": [PNG]}, "system[0].type"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [WEATHER], "tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"mcp_servers": []}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"n": 2}, "n"),
        ({"max_completion_tokens": 2}, "max_completion_tokens"),
        ({"cache_salt": "x"}, "cache_salt"),
        ({"chat_template": "x"}, "chat_template"),
        ({"chat_template_kwargs": {"chat_template": "x"}}, "chat_template_kwargs.chat_template"),
        ({"chat_template_kwargs": "x"}, "chat_template_kwargs"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (user({"type": "audio"}), "messages[0].content[0].type"),
        (user({"text": "x"}), "messages[0].content[0].type"),
        (user({"type": "text"}), "messages[0].content[0].text"),
        (user({"type": "tool_use", "id": "t", "name": "f", "input": {}}), "messages[0].content[0].type"),
        (user({"type": "thinking", "thinking": "x"}), "messages[0].content[0].type"),
        (assistant(result("x")), "messages[0].content[0].type"),
        (assistant(text("x"), PNG), "messages[0].content[1].type"),
        ({"role": "system", "content": [PNG]}, "messages[0].content[0].type"),
        (user({"type": "image", "source": {"type": "file", "file_id": "f"}}), "messages[0].content[0].source.type"),
        (
            user({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": ""}}),
            "messages[0].content[0].source.type",
        ),
        (user({"type": "image", "source": {"type": "url", "url": "http://a/"}}), "messages[0].content[0].source.url"),
        (user(result([{"type": "audio"}])), "messages[0].content[0].content[0].type"),
        (
            user(result([{"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}}])),
            "messages[0].content[0].content[0].source.url",
        ),
        ({"role": "tool", "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
    ],
)
def test_bad_blocks_are_named(message: Any, param: str) -> None:
    assert refused(message).param == param


def test_messages_are_needed() -> None:
    with pytest.raises(InvalidRequest, match="at least 1"):
        MessagesRequest.decode(b'{"model":"m","max_tokens":1,"messages":[]}')


def test_images_of_an_allowed_host_pass() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://img.example/a.png"}}
    sent = read(user(image), rules=Rules(media_hosts=frozenset({"img.example"})))
    assert sent["messages"][0]["content"][0]["image_url"] == {"url": "https://img.example/a.png"}


def test_counting_takes_what_makes_the_prompt() -> None:
    body = {
        "model": "m",
        "messages": [HELLO, assistant(text("I"))],
        "system": "s",
        "tools": [WEATHER],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "disabled"},
    }
    request = CountTokensRequest.decode(json.dumps(body).encode())
    request.check(Rules())
    sent = json.loads(request.encode("m"))
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant"]
    assert sent["tools"][0]["function"]["name"] == "weather"
    assert sent.keys() == {
        "model",
        "messages",
        "tools",
        "add_generation_prompt",
        "continue_final_message",
        "chat_template_kwargs",
    }


def test_counting_fetches_no_media() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "http://10.0.0.1/"}}
    request = CountTokensRequest.decode(json.dumps({"model": "m", "messages": [user(image)]}).encode())
    with pytest.raises(InvalidRequest) as caught:
        request.check(Rules())
    assert caught.value.param == "messages[0].content[0].source.url"

"""From a request for a response to one for a chat completion."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.api.dialects.responses import ResponsesRequest
from headrace.errors import InvalidRequest
from headrace.openai.rules import Rules

HELLO = {"role": "user", "content": "hi"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "name": "weather", "description": "of a city", "parameters": PARAMETERS, "strict": True}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"}
IMAGE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}


def read(input: Any = "hi", rules: Rules | None = None, **fields: Any) -> dict[str, Any]:
    """What goes to the worker."""
    request = ResponsesRequest.decode(json.dumps({"model": "m", "input": input, **fields}).encode())
    request.check(rules or Rules())
    return dict(json.loads(request.encode("m")))


def refused(input: Any = "hi", **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(input, **fields)
    return caught.value


def call(number: int) -> dict[str, Any]:
    return {"type": "function_call", "call_id": f"c{number}", "name": "f", "arguments": "{}"}


def chat_call(number: int) -> dict[str, Any]:
    return {"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def output(number: int, content: Any = "done") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": f"c{number}", "output": content}


def part(kind: str, text: str) -> dict[str, Any]:
    return {"type": kind, "text": text}


def test_text() -> None:
    assert read() == {"model": "m", "messages": [HELLO], "stream": False}


def test_instructions_come_first() -> None:
    assert read(instructions="be brief")["messages"] == [{"role": "system", "content": "be brief"}, HELLO]


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([HELLO], [HELLO]),
        ([{"type": "message", **HELLO}], [HELLO]),
        ([{"role": "developer", "content": [part("input_text", "a")]}], [{"role": "developer", "content": "a"}]),
        (
            [{"role": "user", "content": [part("input_text", "a"), IMAGE]}],
            [{"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE_PART]}],
        ),
        (
            [{"role": "assistant", "content": [part("output_text", "a"), {"type": "refusal", "refusal": "b"}]}],
            [{"role": "assistant", "content": "ab"}],
        ),
        (
            [HELLO, {"role": "assistant", "content": "I look"}, call(1), call(2), output(1), output(2)],
            [
                HELLO,
                {"role": "assistant", "content": "I look", "tool_calls": [chat_call(1), chat_call(2)]},
                {"role": "tool", "tool_call_id": "c1", "content": "done"},
                {"role": "tool", "tool_call_id": "c2", "content": "done"},
            ],
        ),
        (
            [call(1), output(1, [part("input_text", "a"), IMAGE, part("input_text", "b")]), HELLO],
            [
                {"role": "assistant", "content": "", "tool_calls": [chat_call(1)]},
                {"role": "tool", "tool_call_id": "c1", "content": "a\nb"},
                {"role": "user", "content": [IMAGE_PART]},
                HELLO,
            ],
        ),
        (
            [{"type": "reasoning", "summary": [part("summary_text", "hm")]}, {"role": "assistant", "content": "a"}],
            [{"role": "assistant", "content": "a", "reasoning": "hm"}],
        ),
        (
            [{"type": "reasoning", "summary": [], "content": [part("reasoning_text", "hm")]}, call(1)],
            [{"role": "assistant", "content": "", "reasoning": "hm", "tool_calls": [chat_call(1)]}],
        ),
        ([{"type": "reasoning", "summary": [], "encrypted_content": "x"}, HELLO], [HELLO]),
        (
            [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
            [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
        ),
    ],
)
def test_items(items: list[Any], messages: list[Any]) -> None:
    assert read(items)["messages"] == messages


def test_images_of_the_last_output_are_shown() -> None:
    assert [message["role"] for message in read([call(1), output(1, [IMAGE])])["messages"]] == [
        "assistant",
        "tool",
        "user",
    ]


SCHEMA = {"type": "json_schema", "name": "s", "schema": PARAMETERS, "strict": True}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_output_tokens": 9}, {"max_completion_tokens": 9}),
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"include": ["message.output_text.logprobs", "reasoning.encrypted_content"]}, {"logprobs": True}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": SCHEMA}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "s", "schema": PARAMETERS, "strict": True},
                }
            },
        ),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"user": "u"}, {"user": "u"}),
        ({"user": "u", "safety_identifier": "s"}, {"user": "s"}),
        ({"store": False, "background": False, "truncation": "disabled", "service_tier": "auto"}, {}),
        ({"metadata": {"a": "b"}, "prompt_cache_key": "k", "max_tool_calls": 3}, {"prompt_cache_key": "k"}),
        ({"seed": 1, "top_k": 3}, {"seed": 1, "top_k": 3}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        (
            {"stream": True, "stream_options": {"include_obfuscation": False}},
            {"stream": True, "stream_options": {"include_usage": True}},
        ),
        ({"tool_choice": "auto", "parallel_tool_calls": False}, {}),
    ],
)
def test_other_fields(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read(**fields) == {**read(), **expected}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", "required"),
        ({"type": "function", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_tools(choice: Any, expected: Any) -> None:
    sent = read(tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False)
    function = {name: value for name, value in WEATHER.items() if name != "type"}
    assert sent["tools"] == [{"type": "function", "function": function}]
    assert (sent["tool_choice"], sent["parallel_tool_calls"]) == (expected, False)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"conversation": "c"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 3}, "max_tokens"),
        ({"n": 3}, "n"),
        ({"priority": 3}, "priority"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [WEATHER], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "s"}}}, "text.format.schema"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"temperature": 3}, "temperature"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "web_search_call"}, "input[0].type"),
        ({"type": "item_reference", "id": "msg_1"}, "input[0].type"),
        ({"content": "x"}, "input[0].role"),
        ({"role": "user"}, "input[0].content"),
        ({"role": "tool", "content": "x"}, "input[0].role"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}, "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input[0].content[0].text"),
        ({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}, "input[0].content[0].image_url"),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "http://10.0.0.1/"}]},
            "input[0].content[0].image_url",
        ),
        ({"role": "assistant", "content": [IMAGE]}, "input[0].content[0].type"),
        ({**call(1), "call_id": None}, "input[0].call_id"),
        ({**call(1), "arguments": None}, "input[0].arguments"),
        ({**output(1), "output": None}, "input[0].output"),
        (output(1, [{"type": "input_image", "image_url": "file:///x"}]), "input[0].output[0].image_url"),
    ],
)
def test_bad_items_are_named(item: Any, param: str) -> None:
    assert refused([item]).param == param

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.errors import InvalidRequest
from headrace.openai.rules import Rules
from headrace.openai.tokens import DetokenizeRequest, TokenizeRequest

HELLO = {"role": "user", "content": "hi"}


def tokenize(**fields: Any) -> TokenizeRequest:
    request = TokenizeRequest.decode(json.dumps({"model": "m", **fields}).encode())
    request.check(Rules())
    return request


@pytest.mark.parametrize("fields", [{"prompt": "hi", "add_special_tokens": False}, {"messages": [HELLO], "x": 1}])
def test_fields_pass(fields: dict[str, Any]) -> None:
    assert json.loads(tokenize(**fields).encode("m")) == {"model": "m", **fields}


def test_nothing_is_computed() -> None:
    assert tokenize(prompt="hi").text() == b""


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "hi", "messages": [HELLO]}, "prompt"),
        ({"prompt": ["hi"]}, "prompt"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "x", "content": ""}]}, "messages[0].role"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1"}}]}
                ]
            },
            "messages[0].content[0].image_url",
        ),
        ({"prompt": "hi", "chat_template": "x"}, "chat_template"),
        ({"prompt": "hi", "chat_template_kwargs": {"chat_template": "x"}}, "chat_template_kwargs.chat_template"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        tokenize(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(("tokens", "param"), [([-1], "tokens[0]"), (None, "tokens"), ("x", "tokens")])
def test_bad_tokens_are_named(tokens: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        DetokenizeRequest.decode(json.dumps({"model": "m", "tokens": tokens}).encode())
    assert caught.value.param == param


def test_tokens_pass() -> None:
    assert json.loads(DetokenizeRequest.decode(b'{"model":"m","tokens":[1,2]}').encode("m"))["tokens"] == [1, 2]

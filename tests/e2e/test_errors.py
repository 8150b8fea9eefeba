"""What a client gets for a wrong request: the SDK's own exceptions, and OpenAI's error object."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.e2e.calls import Call
from tests.e2e.stack import API, CHAT, CHAT_MODEL, EMBEDDING_MODEL, EMBEDDINGS, WEB, Stack

pytestmark = pytest.mark.e2e

BODY: dict[str, Any] = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
_TOO_MUCH = 9 * 1024 * 1024


def error_of(call: Call) -> dict[str, Any]:
    """The error object, whose shape is checked here for all."""
    assert call.headers["content-type"] == "application/json"
    document = call.json()
    assert set(document) == {"error"}
    error: dict[str, Any] = document["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert isinstance(error["type"], str)
    assert isinstance(error["code"], str)
    assert error["param"] is None or error["param"] in error["message"]
    return error


@pytest.mark.parametrize("door", [API, WEB])
def test_a_wrong_key(stack: Stack, door: str) -> None:
    with (
        closing(stack.client(door, key=f"{stack.key[:-4]}0000")) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(**BODY)
    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")


@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("POST", EMBEDDINGS), ("GET", "/v1/models")])
def test_no_key(stack: Stack, method: str, path: str) -> None:
    with Call(stack.child(API).url, method, path, b"{}" if method == "POST" else None) as call:
        assert call.status == 401
        assert call.headers["www-authenticate"] == "Bearer"
        assert error_of(call)["code"] == "invalid_api_key"


def test_an_unknown_model_is_told_which_there_are(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(**{**BODY, "model": "gpt-none"})
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert all(name in caught.value.message for name in ("gpt-none", CHAT_MODEL, EMBEDDING_MODEL))


@pytest.mark.parametrize("body", [b"", b"{", b'{"model": "smollm2-135m",}', b"[]", b"\xff\xfe", b"[" * 100_000])
def test_invalid_json(stack: Stack, body: bytes) -> None:
    with stack.call(CHAT, body) as call:
        assert call.status == 400
        assert error_of(call)["code"] == "invalid_json"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "Hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"stop": [""]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"n": 1000}, "n"),
        ({"seed": 2**64}, "seed"),
    ],
)
def test_a_wrong_field_is_named(client: OpenAI, changes: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{**BODY, **changes})
    assert caught.value.param == param
    assert param in caught.value.message


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(stack: Stack, missing: str) -> None:
    with stack.call(CHAT, {name: value for name, value in BODY.items() if name != missing}) as call:
        assert call.status == 400
        assert error_of(call)["param"] == missing


def test_a_model_of_the_wrong_kind(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{**BODY, "model": EMBEDDING_MODEL})
    assert (caught.value.param, caught.value.code) == ("model", "wrong_modality")
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=CHAT_MODEL, input="Hello")
    assert (caught.value.param, caught.value.code) == ("model", "wrong_modality")


def test_a_body_that_is_too_large(stack: Stack) -> None:
    with stack.call(CHAT, b" " * _TOO_MUCH) as call:  # all of it is sent, and the answer can still be read
        assert call.status == 413
        assert error_of(call)["code"] == "request_too_large"


def test_a_body_that_will_be_too_large(stack: Stack) -> None:
    """Caddy would wait for the announced body before it passes the answer on, so it is asked directly."""
    with stack.call(CHAT, b" ", content_length=str(_TOO_MUCH)) as call:
        assert call.status == 413
        assert error_of(call)["code"] == "request_too_large"


def test_headers_that_are_too_large(stack: Stack) -> None:
    with stack.call(CHAT, BODY, x_padding="x" * 40_000) as call:
        assert call.status == 431
        assert error_of(call)["code"] == "headers_too_large"


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_longer_than_the_context(client: OpenAI, stream: bool) -> None:
    messages = [{"role": "user", "content": "word " * 20_000}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{**BODY, "messages": messages}, stream=stream)
    assert (caught.value.param, caught.value.code) == ("messages", "context_length_exceeded")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/v1/nothing", 404, "unknown_path"), ("DELETE", CHAT, 405, "method_not_allowed")],
)
def test_what_is_not_there(stack: Stack, method: str, path: str, status: int, code: str) -> None:
    with Call(stack.child(API).url, method, path) as call:
        assert call.status == status
        assert error_of(call)["code"] == code


def test_what_is_not_http(stack: Stack) -> None:
    with Call(stack.child(API).url, "NOT A METHOD", "/") as call:
        assert call.status == 400
        assert error_of(call)["code"] == "bad_http"

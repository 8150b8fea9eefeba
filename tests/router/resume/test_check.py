"""What cannot be gone on with."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.errors import NotResumable
from headrace.router.resume.check import check, choices
from headrace.router.resume.sent import Sent
from tests.router.resume.events import chat, says

MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("reason", "document"),
    [
        ("n", {"n": 2}),
        ("n", {"best_of": 2}),
        ("n", {"prompt": ["a", "b"]}),
        ("n", {"prompt": [[1], [2]]}),
        ("structured", {"response_format": {"type": "json_object"}}),
        ("structured", {"response_format": {"type": "json_schema", "json_schema": {}}}),
        ("structured", {"structured_outputs": {"regex": "a"}}),
        ("structured", {"guided_json": {}}),
        ("structured", {"tool_choice": "required"}),
        ("structured", {"tool_choice": {"type": "function"}}),
        ("logprobs", {"logprobs": True}),
        ("logprobs", {"logprobs": 0, "prompt": "a"}),
        ("logprobs", {"prompt_logprobs": 1}),
        ("echo", {"echo": True}),
        ("raw_prompt", {"add_generation_prompt": False}),
    ],
)
def test_request(reason: str, document: dict[str, Any]) -> None:
    with pytest.raises(NotResumable) as caught:
        check(document, Sent(says("a")))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("reason", "events"),
    [("tool_calls", chat({"tool_calls": [{"index": 0}]})), ("reasoning", chat({"reasoning_content": "hm"}))],
)
def test_answer(reason: str, events: bytes) -> None:
    with pytest.raises(NotResumable) as caught:
        check({"messages": MESSAGES}, Sent(events))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"n": 1, "best_of": None, "logprobs": False, "echo": False, "tool_choice": "auto", "tools": [{}]},
        {"n": None, "response_format": {"type": "text"}, "prompt": [1, 2]},
        {"prompt": ["a"]},
        {"add_generation_prompt": False, "continue_final_message": True},
    ],
)
def test_what_can(document: dict[str, Any]) -> None:
    check(document, Sent(chat({"reasoning": "hm"}) + says("a")))


def test_choices() -> None:
    documents: list[dict[str, Any]] = [{}, {"n": 3}, {"prompt": ["a", "b"], "n": 2}, {"prompt": []}]
    assert list(map(choices, documents)) == [1, 3, 4, 1]

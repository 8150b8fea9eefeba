"""Reading what was sent."""

from __future__ import annotations

import pytest

from headrace.errors import NotResumable
from headrace.router.resume.sent import Sent
from tests.router.resume.events import chat, event, says, text, usage


def test_text_and_head() -> None:
    sent = Sent(says("Hel", "lo é😀") + b": ping\n\n")
    assert (sent.text, sent.role, sent.finished, sent.usage, sent.done) == ("Hello é😀", True, set(), False, False)
    assert sent.head() == {"id": "one", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def test_line_ends_and_lines_of_data() -> None:
    assert Sent(b'data: {"choices":\r\ndata: [{"text":"a"}]}\r\n\r\nevent: x\r\ndata:[DONE]\r\n\r\n').text == "a"


def test_end() -> None:
    sent = Sent(text("a") + text("", "stop") + usage(1, 2) + b"data: [DONE]\n\n")
    assert (sent.text, sent.finished, sent.usage, sent.done) == ("a", {0}, True, True)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning(name: str) -> None:
    sent = Sent(chat({name: "hm"}) + chat({name: "m", "content": None}))
    assert (sent.reasoning, sent.text) == ("hmm", "")


@pytest.mark.parametrize(
    "delta", [{"tool_calls": [{"index": 0}]}, {"function_call": {}}, {"audio": {}}, {"refusal": "no"}]
)
def test_more_than_text(delta: dict[str, object]) -> None:
    assert Sent(chat(delta)).tools
    assert not Sent(chat({"content": "a", "tool_calls": [], "refusal": None})).tools


def test_usage_in_every_event_is_not_the_last_one() -> None:
    assert not Sent(chat({"content": "a"}, usage={"prompt_tokens": 1})).usage


@pytest.mark.parametrize("events", [b"data: {\n\n", b"data: []\n\n", event({"choices": [{"delta": {"content": 1}}]})])
def test_nonsense(events: bytes) -> None:
    with pytest.raises(NotResumable) as caught:
        Sent(events)
    assert caught.value.reason == "unreadable"

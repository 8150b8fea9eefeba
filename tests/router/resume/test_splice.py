"""Two streams become one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.errors import ProtocolError
from headrace.router.resume.continuation import Continuation
from headrace.router.resume.seam import Seam
from headrace.router.resume.sent import Sent
from headrace.router.resume.splice import Splice
from tests.router.resume.events import chat, read, said, says, text, usage


def splice(sent: bytes, *, tokens: int = 3, space: str = "", stops: tuple[str, ...] = ()) -> Splice:
    read_ = Sent(sent)
    return Splice(read_, Continuation({}, 5, tokens, space), Seam(read_.text, space, stops))


def test_events_go_on_with_the_first_stream() -> None:
    out = splice(says("Hello ")).on_events(
        says("wor", "ld", id="two") + chat({}, "stop", id="two") + b"data: [DONE]\n\n"
    )
    documents = read(out)
    assert documents.pop() == "[DONE]"
    assert {(one["id"], one["created"], one["model"]) for one in documents} == {("one", 1, "m")}
    assert said(out) == "world"
    assert not any("role" in choice["delta"] for one in documents for choice in one["choices"])
    assert documents[-1]["choices"][0]["finish_reason"] == "stop"


def test_opening_that_was_not_sent_stays() -> None:
    out = read(splice(b": ping\n\n").on_events(says("a", id="two")))
    assert out[0]["choices"][0]["delta"]["role"] == "assistant"
    assert {one["id"] for one in out} == {"two"}


def test_text_with_the_opening_is_kept() -> None:
    out = splice(says("a")).on_events(chat({"role": "assistant", "content": "b"}, id="two"))
    assert read(out)[0]["choices"][0]["delta"] == {"content": "b"}


def test_unknown_fields_are_kept() -> None:
    out = read(splice(says("a")).on_events(chat({"content": "b", "x": 1}, y=2)))
    assert (out[0]["y"], out[0]["choices"][0]["delta"]["x"]) == (2, 1)


def test_completions() -> None:
    out = read(splice(text("a")).on_events(text("") + text("b") + text("", "length")))
    assert [choice["text"] for one in out for choice in one["choices"]] == ["b", ""]


def test_usage_counts_the_whole_answer_once() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 8}}
    out = read(splice(says("a"), tokens=3).on_events(usage(8, 4, **details)))
    assert out[0]["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 5},
    }


def test_white_space_comes_once() -> None:
    one = splice(says("a\n"), space="\n")
    assert said(one.on_events(chat({"content": "\n"})) + one.on_events(chat({"content": "b"}))) == "b"


def test_stop_string_across_the_seam_ends_the_answer() -> None:
    one = splice(says("a ST"), stops=("STOP",))
    assert one.on_events(chat({"content": "O"})) == b""
    out = read(one.on_events(chat({"content": "P more"}) + chat({"content": "never"}) + b"data: [DONE]\n\n"))
    assert one.stopped
    assert [(c["delta"]["content"], c["finish_reason"], c["stop_reason"]) for o in out for c in o["choices"]] == [
        ("", "stop", "STOP")
    ]


def test_held_text_comes_with_the_end() -> None:
    one = splice(says("a ST"), stops=("STOP",))
    assert said(one.on_events(chat({"content": "O"}) + chat({}, "length"))) == "O"


def test_error_event_and_comments() -> None:
    error = b'data: {"error":{"message":"out of memory"}}\n\n'
    assert read(splice(says("a")).on_events(b": ping\n\n" + error)) == [{"error": {"message": "out of memory"}}]


@pytest.mark.parametrize("events", [b"data: {\n\n", b"data: []\n\n", chat({"reasoning_content": "hm"})])
def test_what_is_no_continuation(events: bytes) -> None:
    with pytest.raises(ProtocolError):
        splice(says("a")).on_events(events)


def test_numbers_stay_as_they_are() -> None:
    event: dict[str, Any] = {"choices": [{"delta": {"content": "b"}, "logprobs": None}], "z": 1.5}
    out = read(splice(says("a")).on_events(b"data: %b\n\n" % json.dumps(event).encode()))
    assert (out[0]["z"], out[0]["choices"][0]["logprobs"]) == (1.5, None)

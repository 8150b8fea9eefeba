"""From a chat completion to Anthropic's message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.dialects.message_answer import CountTranslator, MessageTranslator
from headrace.errors import BadGateway, ProtocolError
from tests.api.dialects.conftest import chat, deltas

USAGE = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 8,
    "output_tokens": 3,
}


def whole(stops: tuple[str, ...] = (), **message: Any) -> dict[str, Any]:
    return dict(json.loads(MessageTranslator(list(stops)).answer(json.dumps(chat(**message)).encode())))


def streamed(*events: bytes, stops: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    translator = MessageTranslator(list(stops))
    return parse(b"".join(translator.on_events(event) for event in events))


def parse(data: bytes) -> list[dict[str, Any]]:
    found = []
    for block in data.decode().removesuffix("\n\n").split("\n\n"):
        name, payload = block.split("\n")
        event = json.loads(payload.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def built(events: list[dict[str, Any]]) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """The blocks, the end and the usage that a client puts together; checks the order of the events."""
    assert events[0]["type"] == "message_start"
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    blocks: list[Any] = []
    is_open = False
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert not is_open
            blocks.append(event["content_block"])
            is_open = True
            assert event["index"] == len(blocks) - 1
            continue
        assert is_open
        assert event["index"] == len(blocks) - 1
        if event["type"] == "content_block_stop":
            is_open = False
            continue
        delta = dict(event["delta"])
        name = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}[delta["type"]]
        blocks[-1][name] = blocks[-1].get(name, "") + delta[name]
    assert not is_open
    return blocks, events[-2]["delta"], events[-2]["usage"]


def call(index: int, name: str | None = None, arguments: str | None = None, id: str | None = None) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}


def test_text() -> None:
    assert whole(content="hello") == {
        "type": "message",
        "id": "msg_7",
        "model": "m",
        "role": "assistant",
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {**USAGE, "input_tokens": 11, "cache_read_input_tokens": 0},
    }


@pytest.mark.parametrize(
    ("finish", "reason", "expected"),
    [
        ("stop", None, ("end_turn", None)),
        ("stop", "END", ("stop_sequence", "END")),
        ("stop", "other", ("end_turn", None)),
        ("stop", 128001, ("end_turn", None)),
        ("length", None, ("max_tokens", None)),
        ("tool_calls", None, ("tool_use", None)),
        ("content_filter", None, ("refusal", None)),
        ("abort", None, ("end_turn", None)),
    ],
)
def test_reasons_to_stop(finish: str, reason: int | str | None, expected: tuple[str, str | None]) -> None:
    message = whole(("END",), content="x", finish_reason=finish, stop_reason=reason)
    assert (message["stop_reason"], message["stop_sequence"]) == expected
    _, delta, _ = built(streamed(*deltas({"content": "x"}, finish=finish, stop_reason=reason), stops=("END",)))
    assert (delta["stop_reason"], delta["stop_sequence"]) == expected


def test_blocks_of_a_whole_answer() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        {"type": "function", "function": {"name": "g", "arguments": ""}},
        {"id": "c3", "type": "function", "function": {"name": "h", "arguments": '{"a": '}},
    ]
    message = whole(content="text", reasoning="hm", tool_calls=calls)
    assert message["stop_reason"] == "tool_use"
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "text"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_7_1", "name": "g", "input": {}},
        {"type": "tool_use", "id": "c3", "name": "h", "input": {"INVALID_JSON": '{"a": '}},
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"choices":[]}', b'{"choices":[{"index":1,"message":{}}]}', b"\xff"])
def test_what_is_no_chat_completion_is_an_error(body: bytes) -> None:
    with pytest.raises(BadGateway):
        MessageTranslator([]).answer(body)


def test_tool_call_without_a_name_is_an_error() -> None:
    with pytest.raises(BadGateway):
        whole(tool_calls=[{"id": "x"}])


def test_stream_of_text() -> None:
    events = streamed(*deltas({"role": "assistant", "content": ""}, {"content": "he"}, {"content": "y"}))
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start = events[0]["message"]
    assert (start["id"], start["content"], start["stop_reason"]) == ("msg_7", [], None)
    assert built(events) == (
        [{"type": "text", "text": "hey"}],
        {"stop_reason": "end_turn", "stop_sequence": None},
        USAGE,
    )


def test_stream_of_thoughts_text_and_calls() -> None:
    blocks, delta, _ = built(
        streamed(
            *deltas(
                {"reasoning_content": "h"},
                {"reasoning": "m"},
                {"content": "text"},
                call(0, "f", "", "c1"),
                call(0, None, '{"a"'),
                call(0, None, ":1}"),
                call(1, None, "{", "c2"),
                call(1, "g", "}"),
                call(2, "h"),
                {"content": "after"},
                finish="tool_calls",
            )
        )
    )
    assert delta["stop_reason"] == "tool_use"
    assert blocks == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "text"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {}, "partial_json": '{"a":1}'},
        {"type": "tool_use", "id": "c2", "name": "g", "input": {}, "partial_json": "{}"},
        {"type": "tool_use", "id": "toolu_7_2", "name": "h", "input": {}},
        {"type": "text", "text": "after"},
    ]


def test_call_that_goes_on_after_another_began_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        streamed(*deltas(call(0, "f"), call(1, "g"), call(0, None, "{}")))


@pytest.mark.parametrize("event", [b"data: {\n\n", b'data: {"choices": 1}\n\n', b"data: \xff\n\n", b"data: [DONE]\n\n"])
def test_what_is_no_chunk_is_an_error(event: bytes) -> None:
    with pytest.raises(ProtocolError):
        streamed(event)


def test_error_in_the_stream_is_told() -> None:
    events = streamed(deltas({"content": "x"})[0], b'data: {"error":{"message":"lost","code":"worker_lost"}}\n\n')
    assert events[-1] == {"type": "error", "error": {"type": "api_error", "message": "lost"}}


def test_comments_are_dropped() -> None:
    assert MessageTranslator([]).on_events(b": ping\n\n") == b""


def test_usage_of_each_chunk_counts() -> None:
    first = deltas({"content": "x"})[0]
    told = first.replace(b'"choices"', b'"usage":{"prompt_tokens":11,"completion_tokens":1},"choices"')
    assert streamed(told)[0]["message"]["usage"]["input_tokens"] == 11


@given(
    st.lists(
        st.sampled_from(["a", "bc", "\n\n", "data: ", "é", "😀", ""]).map(lambda text: {"content": text})
        | st.sampled_from(["x", "\\", '"']).map(lambda text: {"reasoning": text})
        | st.integers(0, 3).map(lambda index: call(index, "f", '{"a":"\n"}')),
        max_size=8,
    ),
    st.data(),
)
def test_pieces_do_not_matter(said: list[dict[str, Any]], data: st.DataObject) -> None:
    """However many events come at once, the client reads the same."""
    seen: set[int] = set()
    for one in said:  # an index for each call
        for tool in one.get("tool_calls", ()):
            tool["index"] = len(seen)
            seen.add(tool["index"])
    events = deltas(*said)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(events) - 1))))
    groups = [b"".join(events[a:b]) for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    assert streamed(*groups) == streamed(*events)
    blocks, _, usage = built(streamed(*groups))
    assert usage == USAGE
    for kind, field in (("text", "content"), ("thinking", "reasoning")):
        assert "".join(block[kind] for block in blocks if block["type"] == kind) == "".join(
            one.get(field, "") for one in said
        )
    assert sum(block["type"] == "tool_use" for block in blocks) == len(seen)


def test_count() -> None:
    answer = CountTranslator().answer(b'{"count":5,"max_model_len":9,"tokens":[1,2,3,4,5]}')
    assert json.loads(answer) == {"input_tokens": 5}


def test_count_that_makes_no_sense_is_an_error() -> None:
    with pytest.raises(BadGateway):
        CountTranslator().answer(b"{}")

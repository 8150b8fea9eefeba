"""From a chat completion to a response."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.dialects.response_answer import ResponseTranslator
from headrace.errors import BadGateway, ProtocolError
from headrace.openai.response import Settings
from tests.api.dialects.conftest import chat, deltas

USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 14,
}
LOGPROB = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}


def whole(**message: Any) -> dict[str, Any]:
    return dict(json.loads(ResponseTranslator(Settings()).answer(json.dumps(chat(**message)).encode())))


def streamed(*events: bytes) -> list[dict[str, Any]]:
    translator = ResponseTranslator(Settings())
    return parse(b"".join(translator.on_events(event) for event in events))


def parse(data: bytes) -> list[dict[str, Any]]:
    found = []
    for block in data.decode().removesuffix("\n\n").split("\n\n"):
        name, payload = block.split("\n")
        event = json.loads(payload.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def texts(events: list[dict[str, Any]]) -> dict[str, str]:
    """What the deltas of each item say; checks that they agree with the events that end it."""
    written: dict[str, str] = {}
    for event in events:
        kind = event["type"]
        if kind.endswith(".delta"):
            written[event["item_id"]] = written.get(event["item_id"], "") + event["delta"]
        elif kind.endswith((".text.done", "_text.done", "arguments.done")):
            assert written.get(event["item_id"], "") == event.get("text", event.get("arguments"))
    return written


def call(index: int, name: str | None = None, arguments: str | None = None, id: str | None = None) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}


def test_text() -> None:
    response = whole(content="hello", logprobs={"content": [LOGPROB]})
    assert (response["id"], response["object"], response["status"]) == ("resp_7", "response", "completed")
    assert response["output"] == [
        {
            "type": "message",
            "id": "msg_7_0",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hello", "annotations": [], "logprobs": [LOGPROB]}],
        }
    ]
    assert response["usage"]["total_tokens"] == 14
    assert (response["store"], response["previous_response_id"], response["error"]) == (False, None, None)


def test_items_of_a_whole_answer() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"type": "function", "function": {"name": "g"}},
    ]
    used = {"prompt_tokens": 1, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 4}}
    response = whole(content="text", reasoning="hm", tool_calls=calls, usage=used)
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call", "function_call"]
    assert response["output"][0]["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert response["output"][2:] == [
        {
            "type": "function_call",
            "id": "fc_7_2",
            "call_id": "c1",
            "name": "f",
            "arguments": "{}",
            "status": "completed",
        },
        {
            "type": "function_call",
            "id": "fc_7_3",
            "call_id": "call_7_3",
            "name": "g",
            "arguments": "",
            "status": "completed",
        },
    ]
    assert response["usage"]["output_tokens_details"] == {"reasoning_tokens": 4}


@pytest.mark.parametrize(
    ("finish", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_reasons_to_stop(finish: str, status: str, details: Any) -> None:
    last = streamed(*deltas({"content": "x"}, finish=finish))[-1]
    assert last["type"] == f"response.{status}"
    for response in (whole(content="x", finish_reason=finish), last["response"]):
        assert (response["status"], response["incomplete_details"]) == (status, details)
        assert response["output"][0]["status"] == status
        assert (response["completed_at"] is None) == (status == "incomplete")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"choices":[]}', b"\xff"])
def test_what_is_no_chat_completion_is_an_error(body: bytes) -> None:
    with pytest.raises(BadGateway):
        ResponseTranslator(Settings()).answer(body)


def test_tool_call_without_a_name_is_an_error() -> None:
    with pytest.raises(BadGateway):
        whole(tool_calls=[{"id": "x"}])


def test_stream_of_text() -> None:
    events = streamed(*deltas({"role": "assistant", "content": ""}, {"content": "he"}, {"content": "y"}))
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["output"] == []
    last = events[-1]["response"]
    assert last["output"][0]["content"][0]["text"] == "hey"
    assert last["usage"] == USAGE
    assert texts(events) == {"msg_7_0": "hey"}


def test_stream_of_thoughts_text_and_calls() -> None:
    events = streamed(
        *deltas(
            {"reasoning_content": "h"},
            {"reasoning": "m"},
            {"content": "text"},
            call(0, "f", "", "c1"),
            call(0, None, "{"),
            call(0, None, "}"),
            call(1, "g", "[]"),
            finish="tool_calls",
        )
    )
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert [item.get("arguments") for item in output[2:]] == ["{}", "[]"]
    assert [item["call_id"] for item in output[2:]] == ["c1", "call_7_3"]
    done = [event for event in events if event["type"] == "response.output_item.done"]
    assert [event["item"] for event in done] == output
    assert [event["output_index"] for event in done] == [0, 1, 2, 3]
    assert texts(events) == {"rs_7_0": "hm", "msg_7_1": "text", "fc_7_2": "{}", "fc_7_3": "[]"}


def test_logprobs_of_a_stream() -> None:
    event = b'data: {"id":"chatcmpl-7","choices":[{"index":0,"delta":{"content":"x"},"logprobs":{"content":[%b]}}]}\n\n'
    events = streamed(event % json.dumps(LOGPROB).encode(), *deltas()[-2:])
    assert next(event for event in events if event["type"] == "response.output_text.delta")["logprobs"] == [LOGPROB]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == [LOGPROB]


@pytest.mark.parametrize(
    "said",
    [
        [call(0, "f"), call(1, "g"), call(0, None, "{}")],
        [call(0, None, "{}")],
    ],
)
def test_calls_out_of_order_are_an_error(said: list[dict[str, Any]]) -> None:
    with pytest.raises(ProtocolError):
        streamed(*deltas(*said))


@pytest.mark.parametrize("event", [b"data: {\n\n", b'data: {"choices": 1}\n\n', b"data: [DONE]\n\n"])
def test_what_is_no_chunk_is_an_error(event: bytes) -> None:
    with pytest.raises(ProtocolError):
        streamed(event)


def test_error_in_the_stream_fails_the_response() -> None:
    events = streamed(deltas({"content": "x"})[0], b'data: {"error":{"message":"lost","code":"worker_lost"}}\n\n')
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["error"] == {"code": "server_error", "message": "lost"}


def test_error_before_anything_is_an_event_of_its_own() -> None:
    event = parse(ResponseTranslator(Settings()).broken(BadGateway("lost")))[0]
    assert event == {"type": "error", "code": "bad_gateway", "message": "lost", "param": None, "sequence_number": 0}


@given(
    st.lists(
        st.sampled_from(["a", "bc", "\n\n", "data: ", "é", "😀", ""]).map(lambda text: {"content": text})
        | st.sampled_from(["x", "\\", '"']).map(lambda text: {"reasoning": text})
        | st.just({}).map(lambda _: call(0, "f", '{"a":"\n"}')),
        max_size=8,
    ),
    st.data(),
)
def test_pieces_do_not_matter(said: list[dict[str, Any]], data: st.DataObject) -> None:
    """However many events come at once, the client reads the same, and its parts agree with the whole."""
    number = 0
    for one in said:  # an index for each call
        for tool in one.get("tool_calls", ()):
            tool["index"] = number
            number += 1
    events = deltas(*said)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(events) - 1))))
    groups = [b"".join(events[a:b]) for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    found, same = streamed(*groups), streamed(*events)
    for stream in (found, same):
        stream[-1]["response"]["completed_at"] = 0
    assert found == same
    output = found[-1]["response"]["output"]
    for kind, field in (("message", "content"), ("reasoning", "reasoning")):
        written = "".join(part["text"] for item in output if item["type"] == kind for part in item["content"])
        assert written == "".join(one.get(field, "") for one in said)
    assert sum(item["type"] == "function_call" for item in output) == number
    texts(found)

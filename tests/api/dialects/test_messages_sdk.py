"""``/v1/messages`` as Anthropic's SDK sees it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import anthropic
import pytest

from headrace.wire.relay import RelayWatch
from tests.api.dialects.conftest import Api, chat, deltas, json_answer
from tests.fakes import chunk, held, refuse, silence, stream, stream_head

ASK: dict[str, Any] = {"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
TOOL: Any = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}


async def test_create(api: Api) -> None:
    api.router.script = [json_answer(chat(content="hello"))]
    message = await api.anthropic.messages.create(**ASK)
    assert message.content[0].type == "text"
    assert message.content[0].text == "hello"
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == ("end_turn", 11, 3)
    assert message._request_id == api.sent.header("x-request-id")
    assert api.sent.path == "/v1/chat/completions"
    assert api.sent.header("x-headrace-model") == "m"
    assert "anthropic-version" not in dict(api.sent.headers)


async def test_authorization_header_works_too(api: Api) -> None:
    api.router.script = [json_answer(chat(content="hello"))]
    async with anthropic.AsyncAnthropic(base_url=api.url, auth_token=api.key, max_retries=0) as client:
        assert (await client.messages.create(**ASK)).stop_reason == "end_turn"


async def test_it_is_metered(api: Api) -> None:
    api.router.script = [json_answer(chat(content="hello")), stream(*deltas({"content": "a"}, {"content": "b"}))]
    await api.anthropic.messages.create(**ASK)
    async with api.anthropic.messages.stream(**ASK) as events:
        await events.get_final_message()
    await api.quiet()
    assert 'llm_api_requests_total{model="m",path="/v1/messages",status="200"} 2.0' in api.metric("llm_api_requests")
    assert 'llm_api_tokens_total{kind="prompt",model="m"} 22.0' in api.metric("llm_api_tokens")
    assert 'llm_api_tokens_total{kind="cached",model="m"} 8.0' in api.metric("llm_api_tokens")
    assert 'llm_api_tokens_total{kind="completion",model="m"} 6.0' in api.metric("llm_api_tokens")


async def test_stream(api: Api) -> None:
    api.router.script = [stream(*deltas({"role": "assistant", "content": ""}, {"content": "he"}, {"content": "y"}))]
    async with api.anthropic.messages.stream(**ASK) as events:
        pieces = [piece async for piece in events.text_stream]
        message = await events.get_final_message()
    assert pieces == ["he", "y"]
    assert api.body["stream_options"] == {"include_usage": True}
    assert message.stop_reason == "end_turn"
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (3, 8, 3)


async def test_tools(api: Api) -> None:
    api.router.script = [json_answer(chat(content=None, tool_calls=[CALL], finish_reason="tool_calls"))]
    message = await api.anthropic.messages.create(**ASK, tools=[TOOL], tool_choice={"type": "any"})
    use = message.content[0]
    assert use.type == "tool_use"
    assert (use.name, use.input, message.stop_reason) == ("weather", {"city": "Bern"}, "tool_use")
    assert api.body["tool_choice"] == "required"
    api.router.script = [json_answer(chat(content="21 degrees"))]
    result: Any = {"type": "tool_result", "tool_use_id": use.id, "content": "21"}
    turns = [*ASK["messages"], {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    await api.anthropic.messages.create(**{**ASK, "messages": turns}, tools=[TOOL])
    assert [turn["role"] for turn in api.body["messages"]] == ["user", "assistant", "tool"]
    assert api.body["messages"][1]["tool_calls"] == [CALL]


async def test_stream_of_a_tool_call(api: Api) -> None:
    pieces = [{"index": 0, **CALL, "function": {"name": "weather", "arguments": ""}}]
    more = [{"index": 0, "function": {"arguments": part}} for part in ('{"city', '":"Bern"}')]
    said: list[dict[str, Any]] = [{"tool_calls": pieces}, *({"tool_calls": [part]} for part in more)]
    api.router.script = [stream(*deltas(*said, finish="tool_calls"))]
    async with api.anthropic.messages.stream(**ASK, tools=[TOOL]) as events:
        kinds = [event.type async for event in events]
        message = await events.get_final_message()
    assert kinds.count("input_json") == 2
    use = message.content[0]
    assert use.type == "tool_use"
    assert use.input == {"city": "Bern"}
    assert message.stop_reason == "tool_use"


async def test_count_tokens(api: Api) -> None:
    api.router.script = [json_answer({"count": 5, "max_model_len": 9, "tokens": [1, 2, 3, 4, 5]})]
    counted = await api.anthropic.messages.count_tokens(
        model="m", messages=ASK["messages"], system="s", tools=[TOOL], tool_choice={"type": "auto"}
    )
    assert counted.input_tokens == 5
    assert api.sent.path == "/tokenize"
    assert api.sent.header("x-headrace-cost") == "0,0"
    assert api.body["messages"][0] == {"role": "system", "content": "s"}
    assert api.body["tools"][0]["function"]["name"] == "weather"


# ---- errors ----


async def test_errors_have_anthropics_form(api: Api) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        await api.anthropic.messages.create(**{**ASK, "messages": [{"role": "user", "content": [{"type": "x"}]}]})
    assert caught.value.body == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "messages[0].content[0].type: must be one of text, image, document, search_result, thinking, "
            "redacted_thinking, tool_use, tool_result.",
        },
    }
    assert caught.value.request_id


async def test_unknown_key(api: Api) -> None:
    async with anthropic.AsyncAnthropic(base_url=api.url, api_key="hr-no", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            await client.messages.create(**ASK)
    assert caught.value.type == "authentication_error"


async def test_unknown_model(api: Api) -> None:
    with pytest.raises(anthropic.NotFoundError, match="does not exist") as caught:
        await api.anthropic.messages.create(**{**ASK, "model": "other"})
    assert caught.value.type == "not_found_error"


async def test_model_of_another_kind(api: Api) -> None:
    with pytest.raises(anthropic.BadRequestError, match="'embedding'"):
        await api.anthropic.messages.create(**{**ASK, "model": "embedder"})


async def test_workers_errors_are_translated(api: Api) -> None:
    api.router.script = [refuse(503, "overloaded", ("retry-after", "7")), refuse(400, "context_length_exceeded")]
    with pytest.raises(anthropic.APIStatusError) as caught:
        await api.anthropic.messages.create(**ASK)
    assert caught.value.status_code == 503
    assert caught.value.type == "overloaded_error"
    assert caught.value.response.headers["retry-after"] == "7"
    with pytest.raises(anthropic.BadRequestError, match="no"):
        await api.anthropic.messages.create(**ASK)
    assert 'code="context_length_exceeded"' in api.metric("llm_api_errors_total")


async def test_answer_that_is_no_completion(api: Api) -> None:
    api.router.script = [json_answer({"what": 1})]
    with pytest.raises(anthropic.InternalServerError) as caught:
        await api.anthropic.messages.create(**ASK)
    assert caught.value.status_code == 502


async def test_error_event_of_the_router_ends_the_stream(api: Api) -> None:
    broken = b'data: {"error":{"message":"lost","type":"server_error","param":null,"code":"worker_lost"}}\n\n'
    api.router.script = [stream(deltas({"content": "he"})[0] + broken)]
    with pytest.raises(anthropic.APIStatusError, match="lost") as caught:
        async with api.anthropic.messages.stream(**ASK) as events:
            await events.get_final_message()
    assert caught.value.type == "api_error"
    await api.quiet()
    assert 'code="worker_lost"' in api.metric("llm_api_errors_total")


@pytest.mark.parametrize("rest", [b"", b"data: nonsense\n\n"])
async def test_stream_that_breaks_ends_with_an_error_event(api: Api, rest: bytes) -> None:
    async def behave(call: Any) -> None:
        await call.send(stream_head() + chunk(deltas({"content": "he"})[0]) + (chunk(rest) if rest else b""))
        call.writer.close()

    api.router.script = [behave]
    with pytest.raises(anthropic.APIStatusError, match="broke off") as caught:
        async with api.anthropic.messages.stream(**ASK) as events:
            await events.get_final_message()
    assert caught.value.type == "api_error"
    await api.quiet()
    assert 'code="stream_lost"' in api.metric("llm_api_errors_total")


# ---- time ----


async def test_silence_is_bridged_with_pings(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    on = asyncio.Event()
    first, *rest = deltas({"content": "he"}, {"content": "y"})

    async def finish(call: Any) -> None:
        for event in rest:
            await call.send(chunk(event))
        await call.send(chunk(b""))

    api.router.script = [held(on, finish, first=stream_head() + chunk(first))]
    async with api.http.stream("POST", "/v1/messages", json={**ASK, "stream": True}) as response:
        lines = response.aiter_lines()
        seen = []
        async for line in lines:
            seen.append(line)
            if "text_delta" in line:
                break
        watch: RelayWatch = api.service._forwarder.watch
        watch.check(time.monotonic() + 16)
        on.set()
        seen += [line async for line in lines]
    place = seen.index("event: ping")
    assert json.loads(seen[place + 1].removeprefix("data: ")) == {"type": "ping"}
    assert not [line for line in seen if line.startswith(":")]


async def test_client_that_leaves_ends_the_work(api: Api) -> None:
    async def behave(call: Any) -> None:
        await call.send(stream_head() + chunk(deltas({"content": "he"})[0]))
        await silence(call)

    api.router.script = [behave]
    async with api.anthropic.messages.stream(**ASK) as events:
        async for _ in events.text_stream:
            break
    await asyncio.wait_for(api.sent.gone.wait(), 30)
    await api.quiet()
    assert 'code="client_gone"' in api.metric("llm_api_errors_total")

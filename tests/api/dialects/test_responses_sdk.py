"""``/v1/responses`` as OpenAI's SDK sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from tests.api.dialects.conftest import Api, chat, deltas, json_answer
from tests.fakes import chunk, refuse, silence, stream, stream_head

PARAMETERS: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL: Any = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}


async def test_create(api: Api) -> None:
    api.router.script = [json_answer(chat(content="hello"))]
    response = await api.openai.responses.create(
        model="m", input="hi", instructions="be brief", max_output_tokens=9, metadata={"a": "b"}
    )
    assert (response.output_text, response.status, response.model) == ("hello", "completed", "m")
    assert (response.instructions, response.max_output_tokens, response.metadata) == ("be brief", 9, {"a": "b"})
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (11, 3, 14)
    assert api.sent.path == "/v1/chat/completions"
    assert response._request_id == api.sent.header("x-request-id")
    await api.quiet()
    assert 'llm_api_requests_total{model="m",path="/v1/responses",status="200"} 1.0' in api.metric("llm_api_requests")
    assert 'llm_api_tokens_total{kind="completion",model="m"} 3.0' in api.metric("llm_api_tokens")


async def test_stream(api: Api) -> None:
    api.router.script = [stream(*deltas({"role": "assistant", "content": ""}, {"content": "he"}, {"content": "y"}))]
    events = [event async for event in await api.openai.responses.create(model="m", input="hi", stream=True)]
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "hey"
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "hey"
    assert last.response.usage is not None
    assert last.response.usage.input_tokens_details.cached_tokens == 8


async def test_streaming_helper(api: Api) -> None:
    api.router.script = [stream(*deltas({"content": "he"}, {"content": "y"}))]
    async with api.openai.responses.stream(model="m", input="hi") as events:
        async for _ in events:
            pass
        assert (await events.get_final_response()).output_text == "hey"


async def test_tools(api: Api) -> None:
    api.router.script = [json_answer(chat(content=None, tool_calls=[CALL], finish_reason="tool_calls"))]
    response = await api.openai.responses.create(model="m", input="hi", tools=[TOOL])
    call = response.output[0]
    assert call.type == "function_call"
    assert (call.name, call.arguments, call.call_id) == ("weather", '{"city":"Bern"}', "c1")
    api.router.script = [json_answer(chat(content="21 degrees"))]
    history: Any = [
        {"role": "user", "content": "hi"},
        *response.output,
        {"type": "function_call_output", "call_id": call.call_id, "output": "21"},
    ]
    await api.openai.responses.create(model="m", input=history, tools=[TOOL])
    assert [turn["role"] for turn in api.body["messages"]] == ["user", "assistant", "tool"]
    assert api.body["messages"][1]["tool_calls"] == [CALL]


async def test_stream_of_a_tool_call(api: Api) -> None:
    begin = {"tool_calls": [{"index": 0, **CALL, "function": {"name": "weather", "arguments": ""}}]}
    more = [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in ('{"city', '":"Bern"}')]
    api.router.script = [stream(*deltas(begin, *more, finish="tool_calls"))]
    async with api.openai.responses.stream(model="m", input="hi", tools=[TOOL]) as events:
        pieces = [event.delta async for event in events if event.type == "response.function_call_arguments.delta"]
        response = await events.get_final_response()
    assert pieces == ['{"city', '":"Bern"}']
    call = response.output[0]
    assert call.type == "function_call"
    assert call.arguments == '{"city":"Bern"}'


# ---- errors ----


async def test_previous_response_that_is_not_there(api: Api) -> None:
    with pytest.raises(openai.NotFoundError, match="never stored") as caught:
        await api.openai.responses.create(model="m", input="hi", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"


async def test_workers_errors_pass(api: Api) -> None:
    api.router.script = [refuse(503, "overloaded", ("retry-after", "7"))]
    with pytest.raises(openai.InternalServerError) as caught:
        await api.openai.responses.create(model="m", input="hi")
    assert (caught.value.code, caught.value.response.headers["retry-after"]) == ("overloaded", "7")


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"data: nonsense\n\n",
        b'data: {"error":{"message":"lost","type":"server_error","param":null,"code":"worker_lost"}}\n\n',
    ],
)
async def test_stream_that_breaks_ends_with_a_failed_response(api: Api, rest: bytes) -> None:
    async def behave(call: Any) -> None:
        await call.send(stream_head() + chunk(deltas({"content": "he"})[0]) + (chunk(rest) if rest else b""))
        call.writer.close()

    api.router.script = [behave]
    events = [event async for event in await api.openai.responses.create(model="m", input="hi", stream=True)]
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.code == "server_error"
    await api.quiet()
    assert '_lost"' in api.metric("llm_api_errors_total")


async def test_client_that_leaves_ends_the_work(api: Api) -> None:
    async def behave(call: Any) -> None:
        await call.send(stream_head() + chunk(deltas({"content": "he"})[0]))
        await silence(call)

    api.router.script = [behave]
    events = await api.openai.responses.create(model="m", input="hi", stream=True)
    async for event in events:
        if event.type == "response.output_text.delta":
            break
    await events.close()
    await asyncio.wait_for(api.sent.gone.wait(), 30)

"""Prompts that are too long: from bytes, by the tokenizer, by the worker."""

from __future__ import annotations

import json

import pytest

from headrace.api.length import worker_refusal
from tests.api.conftest import CHAT, StartApi, StartRouter, chat, error
from tests.fakes import Behaviour, FakeRouter, answer, refuse, silence

CONTEXT = 1000


def prompt(size: int) -> dict[str, object]:
    return chat(messages=[{"role": "user", "content": "x" * size}])


def counts(tokens: int) -> Behaviour:
    return answer(200, json.dumps({"count": tokens, "max_model_len": CONTEXT, "tokens": []}).encode())


async def start(start_router: StartRouter) -> FakeRouter:
    router = await start_router()
    router.pools[0]["context"] = CONTEXT
    return router


def paths(router: FakeRouter) -> list[str]:
    return [call.path for call in router.requests]


async def test_what_no_tokenizer_could_fit_never_leaves(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start(start_router)
    api = await start_api(router)
    reply = await api.post(prompt(CONTEXT * 128 + 1))
    found = error(reply)
    assert (reply.status, found["code"], found["param"]) == (400, "context_length_exceeded", "messages")
    assert "1,000 tokens" in found["message"]
    assert not router.requests


async def test_short_prompt_is_not_counted(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start(start_router)
    api = await start_api(router)
    assert (await api.post(prompt(CONTEXT))).status == 200
    assert paths(router) == [CHAT]


@pytest.mark.parametrize(
    ("tokens", "cap", "status"), [(999, None, 200), (1000, None, 400), (990, 10, 200), (991, 10, 400)]
)
async def test_near_the_limit_the_tokenizer_decides(
    start_api: StartApi, start_router: StartRouter, tokens: int, cap: int | None, status: int
) -> None:
    router = await start(start_router)
    api = await start_api(router)
    router.script = [counts(tokens)]
    reply = await api.post(prompt(CONTEXT * 4) | ({"max_tokens": cap} if cap else {}))
    assert reply.status == status
    assert paths(router) == ["/tokenize", CHAT][: 2 if status == 200 else 1]
    asked = router.requests[0]
    assert (asked.header("x-headrace-model"), json.loads(asked.body)["model"]) == ("m", "m")
    if status == 400:
        assert f"the prompt has {tokens:,}" in error(reply)["message"]


@pytest.mark.parametrize("failure", [refuse(404, "unknown_path"), answer(200, b"nonsense"), answer(200, b"{}")])
async def test_without_a_count_the_worker_decides(
    start_api: StartApi, start_router: StartRouter, failure: Behaviour
) -> None:
    router = await start(start_router)
    api = await start_api(router)
    router.script = [failure]
    assert (await api.post(prompt(CONTEXT * 4))).status == 200
    assert paths(router) == ["/tokenize", CHAT]


async def test_model_whose_context_is_not_known_takes_all(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    router.pools[0]["context"] = 0
    api = await start_api(router)
    assert (await api.post(prompt(CONTEXT * 200))).status == 200


async def test_several_prompts_have_the_context_each(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start(start_router)
    api = await start_api(router)
    body = {"model": "m", "prompt": ["x" * CONTEXT] * 200}
    assert (await api.post(body, path="/v1/completions")).status == 200
    assert paths(router) == ["/v1/completions"]


async def test_router_that_does_not_count_in_time_is_not_waited_for(
    start_api: StartApi, start_router: StartRouter
) -> None:
    router = await start(start_router)
    api = await start_api(router)
    api.service._gateway._length._inside._timeout = 0.1
    router.script = [silence]
    assert (await api.post(prompt(CONTEXT * 4))).status == 200
    assert paths(router) == ["/tokenize", CHAT]


TRT = "The sum of prompt length (9351.0), query length (0) should not exceed max_num_tokens (8192)"
VLLM = "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens."
LLAMA = "the request exceeds the available context size, try increasing it"


@pytest.mark.parametrize(("status", "message"), [(500, TRT), (400, TRT), (400, VLLM), (500, LLAMA)])
async def test_engines_words_become_openais_code(
    start_api: StartApi, start_router: StartRouter, status: int, message: str
) -> None:
    router = await start_router()
    api = await start_api(router)
    body = json.dumps({"object": "error", "message": message, "type": "BadRequestError", "code": status}).encode()
    router.script = [answer(status, body)]
    reply = await api.post()
    found = error(reply)
    assert (reply.status, found["code"], found["message"]) == (400, "context_length_exceeded", message)
    [record] = await api.records(1)
    assert (record["status"], record["reason"]) == (400, "context_length_exceeded")


async def test_worker_that_names_the_input_at_fault_is_passed_on(
    start_api: StartApi, start_router: StartRouter
) -> None:
    router = await start_router()
    api = await start_api(router)
    said = {"message": "input[1]: has 600 tokens", "param": "input[1]", "code": "context_length_exceeded"}
    router.script = [answer(400, json.dumps({"error": said | {"type": "invalid_request_error"}}).encode())]
    found = error(await api.post())
    assert {key: found[key] for key in said} == said


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b"CUDA error: an illegal memory access"), (503, VLLM.encode()), (400, b"max_tokens must be at least 1")],
)
def test_other_answers_are_left_alone(status: int, body: bytes) -> None:
    assert worker_refusal(status, body) is None


def test_refusal_without_a_message_gets_one() -> None:
    found = worker_refusal(500, b"prompt length exceeds")
    assert found is not None
    assert found.message == "The prompt is too long for this model; shorten it."

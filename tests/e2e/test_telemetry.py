"""What the services tell of their work: one line a request, and metrics that count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import OpenAI

from tests.e2e.calls import Call, get
from tests.e2e.stack import API, BERT, CHAT, CHAT_MODEL, CPU, EMBEDDING_MODEL, EMBEDDINGS, ROUTER, WEB, Stack

pytestmark = pytest.mark.e2e

MARK = "zanzibarquince"
"""A word that no service says by itself."""
BODY: dict[str, Any] = {
    "model": CHAT_MODEL,
    "messages": [{"role": "user", "content": f"What is a {MARK}?"}],
    "max_tokens": 5,
    "temperature": 0,
}


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_one_line_with_its_tokens(stack: Stack, stream: bool, request: pytest.FixtureRequest) -> None:
    client_id = request.node.name
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    with stack.call(CHAT, BODY | options, x_request_id=client_id) as call:
        if stream:
            call.end()
            usage = json.loads(call.seen[-2])["usage"]
        else:
            usage = call.json()["usage"]
        id_ = call.headers["x-request-id"]
    (line,) = stack.access(client_id)
    told = {
        name: line[name] for name in ("id", "path", "model", "status", "attempts", "event", "service") if name in line
    }
    assert told | {"event": "request", "service": "llm-api"} == {
        "id": id_,
        "path": CHAT,
        "model": CHAT_MODEL,
        "status": 200,
        "attempts": 1,
        "event": "request",
        "service": "llm-api",
    }
    assert line.get("stream", False) is stream
    assert line["tenant"]
    assert line["key"] in stack.key
    assert (line["prompt_tokens"], line["completion_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert line["total_ms"] > 0


def test_an_embedding_is_one_line_too(stack: Stack, request: pytest.FixtureRequest) -> None:
    client_id = request.node.name
    with stack.call(EMBEDDINGS, {"model": EMBEDDING_MODEL, "input": MARK}, x_request_id=client_id) as call:
        usage = call.json()["usage"]
    (line,) = stack.access(client_id)
    assert (line["model"], line["prompt_tokens"]) == (EMBEDDING_MODEL, usage["prompt_tokens"])


def test_a_refused_request_is_one_line_with_its_reason(stack: Stack, request: pytest.FixtureRequest) -> None:
    client_id = request.node.name
    with stack.call(CHAT, BODY | {"model": "none"}, x_request_id=client_id) as call:
        assert call.status == 404
    (line,) = stack.access(client_id)
    assert (line["status"], line["reason"]) == (404, "model_not_found")
    assert "prompt_tokens" not in line


def test_no_log_holds_prompts_answers_or_keys(stack: Stack) -> None:
    wrong_key = f"{stack.key[:-6]}{MARK}"
    for more in ({}, {"stream": True}, {"stop": MARK}, {"temperature": MARK}, {"user": MARK}, {MARK: 1, "n": MARK}):
        with stack.call(CHAT, BODY | more) as call:
            call.body()
    with stack.call(f"{CHAT}?key={MARK}", BODY, authorization=f"Bearer {wrong_key}", x_api_key=stack.key) as call:
        assert call.status == 401
    with stack.call(EMBEDDINGS, {"model": EMBEDDING_MODEL, "input": f"{MARK} " * 600}, door=WEB) as call:
        assert call.status == 400
    with stack.call(CHAT, f'{{"model": "{MARK}'.encode()) as call:
        assert call.status == 400
    with stack.call("/v1/models", x_request_id="the-last-one") as call:
        call.body()
    stack.access("the-last-one")  # lines are written in order: those before are there, too
    logs = stack.logs()
    assert {f"{name}.log" for name in (API, BERT, CPU, ROUTER, WEB, "up")} <= set(logs)
    assert [name for name, text in logs.items() if MARK in text] == []
    stack.check_logs()


def test_metrics_count_requests_and_tokens(stack: Stack, client: OpenAI) -> None:
    names = (API, ROUTER, CPU, BERT, WEB)
    before = {name: stack.samples(name) for name in names}
    answers = [client.chat.completions.create(**BODY) for _ in range(3)]
    embedded = client.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"])
    with stack.call(CHAT, BODY | {"model": "none"}, door=WEB) as call:
        assert call.status == 404
    stack.wait_idle()
    after = {name: stack.samples(name) for name in names}

    def grown(service: str, name: str, **labels: str) -> float:
        return after[service].total(name, **labels) - before[service].total(name, **labels)

    usages = [answer.usage for answer in answers if answer.usage is not None]
    prompt, completion = (
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
    )
    chat = {"path": CHAT, "model": CHAT_MODEL}
    assert grown(API, "llm_api_requests_total", **chat, status="200") == 3
    assert grown(API, "llm_api_request_duration_seconds_count", **chat) == 3
    assert grown(API, "llm_api_requests_total", path=EMBEDDINGS, model=EMBEDDING_MODEL, status="200") == 1
    assert grown(API, "llm_api_errors_total", path=CHAT, code="model_not_found") == 1
    assert grown(API, "llm_api_tokens_total", model=CHAT_MODEL, kind="prompt") == prompt
    assert grown(API, "llm_api_tokens_total", model=CHAT_MODEL, kind="completion") == completion
    assert grown(API, "llm_api_tokens_total", model=EMBEDDING_MODEL, kind="prompt") == embedded.usage.prompt_tokens
    assert grown(ROUTER, "llm_router_requests_total", pool=CHAT_MODEL, outcome="ok") == 3
    assert grown(ROUTER, "llm_router_first_byte_seconds_count", pool=EMBEDDING_MODEL) == 1
    assert grown(CPU, "cpu_worker_requests_total") == 3
    assert grown(CPU, "cpu_worker_prompt_tokens_total") == prompt
    assert grown(CPU, "cpu_worker_generation_tokens_total") == completion
    assert grown(BERT, "bert_worker_rows_total") == 2
    assert grown(BERT, "bert_worker_tokens_total") == embedded.usage.prompt_tokens
    assert grown(WEB, "caddy_http_requests_total", server="web") > 0


def test_gauges_show_what_runs(stack: Stack) -> None:
    with stack.call(CHAT, BODY | {"max_tokens": 8000, "ignore_eos": True, "stream": True}) as call:
        call.first_event()
        assert stack.samples(API).total("llm_api_in_flight") == 1
        assert stack.samples(ROUTER).total("llm_router_in_flight", pool=CHAT_MODEL) == 1
        assert stack.samples(CPU).total("cpu_worker_requests_running") == 1
        assert stack.samples(ROUTER).total("llm_router_workers", state="ready") == 2
        load = get(stack.child(CPU).ops, "/load")
        assert (load["running"], load["waiting"]) == (1, 0)
        assert 0 < load["kv_used"] <= load["kv_total"]
        assert load["iterations"] > 0
    stack.wait_idle()


@pytest.mark.parametrize("name", [API, ROUTER, CPU, BERT])
def test_every_service_lives_and_is_ready(stack: Stack, name: str) -> None:
    for path in ("/livez", "/readyz"):
        with Call(stack.child(name).ops, "GET", path) as call:
            assert (call.status, call.body()) == (200, b"ok\n")

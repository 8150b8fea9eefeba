"""What llm-api adds to the engines, on the whole platform: aliases, batches, repeated requests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from tests.e2e.conftest import kept
from tests.e2e.patience import PATIENCE, wait_until
from tests.e2e.stack import CHAT_MODEL, EMBEDDING_MODEL, Stack

pytestmark = pytest.mark.e2e

MESSAGES: Any = [{"role": "user", "content": "Tell me how water gets to the wheel of a mill."}]
EXACT: Any = {"temperature": 0, "max_tokens": 8}
ALIASES: dict[str, Any] = {
    "miller": {
        "model": "not-there",
        "fallbacks": [CHAT_MODEL],
        "system": "You are a miller who likes to explain.",
        "defaults": {"temperature": 0},
        "bounds": {"max_tokens": {"max": 8}},
    }
}


@pytest.fixture(scope="module")
def platform(models: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Stack]:
    path = tmp_path_factory.mktemp("business")
    aliases = path / "aliases.yaml"
    aliases.write_text(json.dumps({"aliases": ALIASES}), encoding="utf-8")
    stack = Stack(path, models, {"api": {"aliases": str(aliases)}, "router": {"cold_wait": 60}})
    with kept(pytestconfig, stack):
        stack.start()
        yield stack


@pytest.fixture
def sdk(platform: Stack) -> Iterator[OpenAI]:
    platform.wait_ready()
    with closing(platform.client()) as client:
        yield client


def test_alias_answers_with_its_prompt_its_bounds_and_its_fallback(sdk: OpenAI) -> None:
    system: Any = {"role": "system", "content": ALIASES["miller"]["system"]}
    spelt_out = sdk.chat.completions.create(model=CHAT_MODEL, messages=[system, *MESSAGES], **EXACT)
    answer = sdk.chat.completions.create(model="miller", messages=MESSAGES)
    assert answer.model == CHAT_MODEL
    assert answer.usage == spelt_out.usage
    assert answer.choices[0].message == spelt_out.choices[0].message
    assert "miller" in [model.id for model in sdk.models.list()]
    with pytest.raises(BadRequestError, match="at most 8"):
        sdk.chat.completions.create(model="miller", messages=MESSAGES, max_tokens=9)


def test_repeated_stream_is_the_same_and_not_generated_again(platform: Stack, sdk: OpenAI) -> None:
    """By the SDK, which closes the connection as soon as it has read [DONE]; a 409 it repeats by itself."""

    def ask() -> list[dict[str, Any]]:
        headers = {"Idempotency-Key": "e2e-stream"}
        with sdk.chat.completions.create(
            model=CHAT_MODEL, messages=MESSAGES, stream=True, max_tokens=8, temperature=1, extra_headers=headers
        ) as stream:
            return [part.model_dump() for part in stream]

    def generated() -> float:
        return platform.samples("cpu-worker").total("cpu_worker_requests_total")

    before = generated()
    first = ask()
    assert first[-1]["choices"][0]["finish_reason"] in {"length", "stop"}
    assert ask() == first
    wait_until("the first one is counted", lambda: generated() > before)
    assert generated() == before + 1
    assert platform.samples("llm-api").total("llm_api_requests_total", status="499") == 0


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/chat/completions", {"model": CHAT_MODEL, "messages": MESSAGES, **EXACT}),
        ("/v1/embeddings", {"model": EMBEDDING_MODEL, "input": "a mill"}),
    ],
)
def test_batch_gives_what_single_requests_give(sdk: OpenAI, endpoint: Any, body: dict[str, Any]) -> None:
    lines = [{"custom_id": f"r{n}", "method": "POST", "url": endpoint, "body": body} for n in range(4)]
    data = "\n".join(map(json.dumps, lines)).encode()
    file = sdk.files.create(file=("requests.jsonl", data), purpose="batch")
    batch = sdk.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")

    def over() -> bool:
        return sdk.batches.retrieve(batch.id).status in {"completed", "failed"}

    wait_until("the batch is over", over)
    done = sdk.batches.retrieve(batch.id)
    assert (done.status, done.request_counts and done.request_counts.completed) == ("completed", 4)
    assert done.output_file_id is not None
    answers = [json.loads(line)["response"]["body"] for line in sdk.files.content(done.output_file_id).iter_lines()]
    if endpoint == "/v1/embeddings":
        expected: Any = sdk.embeddings.create(**body, encoding_format="float").data[0].embedding
        assert [answer["data"][0]["embedding"] for answer in answers] == [pytest.approx(expected, abs=1e-4)] * 4
    else:
        expected = sdk.chat.completions.create(**body).choices[0].message.content
        assert [answer["choices"][0]["message"]["content"] for answer in answers] == [expected] * 4


def test_batch_goes_on_after_llm_api_was_killed(platform: Stack, sdk: OpenAI) -> None:
    body = {"model": CHAT_MODEL, "messages": MESSAGES, "max_tokens": 64, "ignore_eos": True}
    lines = [
        {"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": {**body, "seed": n}}
        for n in range(60)
    ]
    data = "\n".join(map(json.dumps, lines)).encode()
    file = sdk.files.create(file=("requests.jsonl", data), purpose="batch")
    batch = sdk.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")

    def begun() -> bool:
        counts = sdk.batches.retrieve(batch.id).request_counts
        return counts is not None and counts.completed > 0

    wait_until("the batch has begun", begun)
    platform.kill("llm-api")
    platform.wait_back()
    with closing(platform.client()) as again:
        deadline = time.monotonic() + 2 * PATIENCE
        while (found := again.batches.retrieve(batch.id)).status == "in_progress":
            assert time.monotonic() < deadline, found
            time.sleep(1)
        found = again.batches.retrieve(batch.id)
        wait_until("the files are made", lambda: again.batches.retrieve(batch.id).status == "completed")
        done = again.batches.retrieve(batch.id)
        assert done.output_file_id is not None
        results = list(again.files.content(done.output_file_id).iter_lines())
        assert len({json.loads(line)["custom_id"] for line in results}) == len(results) == 60

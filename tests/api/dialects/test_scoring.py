"""Tokens, ranks, scores and classes: what no text is generated for."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.api.dialects.conftest import Api, json_answer
from tests.fakes import pool

CLASSES = {
    "id": "classify-1",
    "object": "list",
    "created": 1,
    "model": "judge",
    "data": [
        {"index": 0, "label": "violence", "probs": [0.1, 0.9], "num_classes": 2, "labels": ["safe", "violence"]},
        {"index": 1, "label": "safe", "probs": [0.8, 0.2], "num_classes": 2, "labels": ["safe", "violence"]},
    ],
    "usage": {"prompt_tokens": 7, "total_tokens": 7, "completion_tokens": 0},
}


@pytest.mark.parametrize(
    ("path", "worker_path", "body", "answer"),
    [
        ("/tokenize", "/tokenize", {"model": "m", "prompt": "hi"}, {"count": 1, "max_model_len": 9, "tokens": [5]}),
        ("/tokenize", "/tokenize", {"model": "embedder", "prompt": "hi"}, {"count": 1, "tokens": [5]}),
        ("/detokenize", "/detokenize", {"model": "m", "tokens": [5]}, {"prompt": "hi"}),
        (
            "/v1/rerank",
            "/v1/rerank",
            {"model": "ranker", "query": "q", "documents": ["a"], "top_n": 1},
            {"id": "r", "results": [{"index": 0, "relevance_score": 0.5, "document": {"text": "a"}}]},
        ),
        (
            "/v1/score",
            "/v1/score",
            {"model": "ranker", "text_1": "a", "text_2": ["b"]},
            {"id": "s", "data": [{"index": 0, "object": "score", "score": 0.5}]},
        ),
        ("/v1/classify", "/classify", {"model": "judge", "input": ["a", "b"]}, CLASSES),
    ],
)
async def test_answers_pass(api: Api, path: str, worker_path: str, body: Any, answer: Any) -> None:
    api.router.script = [json_answer(answer)]
    response = await api.http.post(path, json=body)
    assert (response.status_code, response.json()) == (200, answer)
    assert (api.sent.path, api.body) == (worker_path, body)
    assert response.headers["x-request-id"] == api.sent.header("x-request-id")


async def test_documents_are_left_out_on_request(api: Api) -> None:
    result = {"index": 0, "relevance_score": 0.5}
    used = {"prompt_tokens": 4, "total_tokens": 4}
    api.router.script = [json_answer({"results": [{**result, "document": {"text": "a"}}], "usage": used})]
    body = {"model": "ranker", "query": "q", "documents": ["a"], "return_documents": False}
    response = await api.http.post("/v1/rerank", json=body)
    assert response.json() == {"results": [result], "usage": used}
    await api.quiet()
    assert 'llm_api_tokens_total{kind="prompt",model="ranker"} 4.0' in api.metric("llm_api_tokens")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rerank", {"model": "m", "query": "q", "documents": ["a"]}),
        ("/v1/score", {"model": "judge", "text_1": "a", "text_2": "b"}),
        ("/v1/classify", {"model": "ranker", "input": "a"}),
        ("/v1/moderations", {"model": "m", "input": "a"}),
    ],
)
async def test_models_of_another_kind_are_refused(api: Api, path: str, body: Any) -> None:
    response = await api.http.post(path, json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "wrong_modality")


async def test_moderation(api: Api) -> None:
    api.router.script = [json_answer(CLASSES)]
    moderation = await api.openai.moderations.create(input=["kill", "hug"])
    assert [result.flagged for result in moderation.results] == [True, False]
    assert moderation.results[0].categories.violence
    assert moderation.results[0].category_scores.violence == 0.9
    assert not moderation.results[0].categories.self_harm_intent
    assert api.body == {"model": "judge", "input": ["kill", "hug"]}
    await api.quiet()
    assert 'llm_api_tokens_total{kind="prompt",model="judge"} 7.0' in api.metric("llm_api_tokens")


async def test_moderation_needs_a_model_where_there_are_several(api: Api) -> None:
    api.router.pools.append(pool("judge-2", modality="classification"))
    await api.service._fleet._look()
    with pytest.raises(openai.BadRequestError, match="judge, judge-2") as caught:
        await api.openai.moderations.create(input="kill")
    assert caught.value.param == "model"
    api.router.script = [json_answer(CLASSES)]
    await api.openai.moderations.create(input="kill", model="judge-2")
    assert api.body["model"] == "judge-2"


async def test_answer_that_is_no_classification(api: Api) -> None:
    api.router.script = [json_answer({"what": 1})]
    with pytest.raises(openai.InternalServerError) as caught:
        await api.openai.moderations.create(input="kill")
    assert (caught.value.status_code, caught.value.code) == (502, "bad_gateway")

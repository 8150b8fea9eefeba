"""Classification, reranking and scoring over HTTP, on tiny models: they prove the path, not quality."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from headrace.workers.bert import folder
from headrace.workers.bert.openvino import OpenVinoBackend
from tests.workers.bert.conftest import Start
from tests.workers.bert.harness import Client, Reply
from tests.workers.bert.test_encoders import ENCODERS, REFERENCES


class Model(Client):
    """Names its model in every request."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(port)
        self.name = name

    async def ask_for(self, path: str, **body: Any) -> Reply:
        return await self.post(path, {"model": self.name, **body})


async def serve(start: Start, name: str) -> Model:
    path = ENCODERS / name
    return Model((await start(path, OpenVinoBackend(folder.read(path), "f32")))[1].port, name)


@pytest_asyncio.fixture
async def ranker(start: Start) -> AsyncIterator[Model]:
    yield await serve(start, "bert-ranker")


@pytest_asyncio.fixture
async def feelings(start: Start) -> AsyncIterator[Model]:
    yield await serve(start, "bert-feelings")


@pytest_asyncio.fixture
async def topics(start: Start) -> AsyncIterator[Model]:
    yield await serve(start, "bert-topics")


def softmax(logits: Any) -> Any:
    powers = np.exp(np.asarray(logits))
    return powers / powers.sum(axis=-1, keepdims=True)


async def test_classes_are_those_of_transformers(feelings: Model) -> None:
    samples = REFERENCES["bert-feelings"]
    answer = (await feelings.ask_for("/classify", input=[sample["text"] for sample in samples])).json()
    expected = softmax([sample["logits"] for sample in samples])
    np.testing.assert_allclose([row["probs"] for row in answer["data"]], expected, atol=1e-3)
    for row, likely in zip(answer["data"], expected, strict=True):
        assert row["label"] == row["labels"][int(np.argmax(likely))]
        assert row["num_classes"] == len(row["labels"])


async def test_of_several_labels_each_has_its_own_probability(topics: Model) -> None:
    samples = REFERENCES["bert-topics"]
    answer = (await topics.ask_for("/classify", input=samples[0]["text"])).json()
    np.testing.assert_allclose(
        answer["data"][0]["probs"], 1 / (1 + np.exp(-np.asarray(samples[0]["logits"]))), atol=1e-3
    )


async def test_logits_are_given_where_they_are_asked_for(feelings: Model) -> None:
    sample = REFERENCES["bert-feelings"][0]
    answer = (await feelings.ask_for("/classify", input=sample["text"], use_activation=False)).json()
    np.testing.assert_allclose(answer["data"][0]["probs"], sample["logits"], atol=1e-3)


async def test_documents_come_back_best_first(ranker: Model) -> None:
    samples = REFERENCES["bert-ranker"]
    query = samples[0]["text"][0]
    mine = [sample for sample in samples if sample["text"][0] == query]
    body = {"query": query, "documents": [sample["text"][1] for sample in mine]}
    results = (await ranker.ask_for("/v1/rerank", **body)).json()["results"]
    expected = np.array([sample["score"] for sample in mine])
    assert [result["index"] for result in results] == np.argsort(-expected, kind="stable").tolist()
    for result in results:
        assert result["relevance_score"] == pytest.approx(expected[result["index"]], abs=1e-3)
        assert result["document"] == {"text": mine[result["index"]]["text"][1]}
    top = (await ranker.ask_for("/v1/rerank", **body, top_n=1)).json()["results"]
    assert top == results[:1]


async def test_scores_are_those_of_sentence_transformers(ranker: Model) -> None:
    samples = REFERENCES["bert-ranker"]
    firsts, seconds = zip(*(sample["text"] for sample in samples), strict=True)
    reply = await ranker.ask_for("/v1/score", text_1=firsts, text_2=seconds, truncate=True)
    assert reply.status == 200, reply.body
    answer = reply.json()
    np.testing.assert_allclose(
        [row["score"] for row in answer["data"]], [sample["score"] for sample in samples], atol=1e-3
    )
    assert answer["usage"]["prompt_tokens"] > 0


async def test_one_text_is_scored_against_many(ranker: Model) -> None:
    pairs = [sample["text"] for sample in REFERENCES["bert-ranker"]]
    alone = [
        (await ranker.ask_for("/v1/score", text_1=pairs[0][0], text_2=pair[1], truncate=True)).json() for pair in pairs
    ]
    together = (
        await ranker.ask_for("/v1/score", text_1=pairs[0][0], text_2=[pair[1] for pair in pairs], truncate=True)
    ).json()
    np.testing.assert_allclose(
        [row["score"] for row in together["data"]], [answer["data"][0]["score"] for answer in alone], atol=1e-5
    )


async def test_texts_that_cannot_be_paired_are_refused(ranker: Model) -> None:
    reply = await ranker.ask_for("/v1/score", text_1=["a", "b"], text_2=["c", "d", "e"])
    assert reply.status == 400
    assert reply.error["param"] == "text_1"
    assert "as many as text_2, which has 3" in reply.error["message"]


@pytest.mark.parametrize(
    ("name", "path", "body", "hint"),
    [
        (
            "bert-ranker",
            "/v1/embeddings",
            {"input": "a"},
            "use /v1/rerank, /v1/score",
        ),
        ("bert-feelings", "/v1/rerank", {"query": "a", "documents": ["b"]}, "use /classify"),
        ("bert-retriever", "/classify", {"input": "a"}, "use /v1/embeddings"),
    ],
)
async def test_another_task_than_the_model_s_is_refused(
    start: Start, name: str, path: str, body: dict[str, Any], hint: str
) -> None:
    reply = await (await serve(start, name)).ask_for(path, **body)
    assert reply.status == 400
    assert reply.error["code"] == "wrong_modality"
    assert hint in reply.error["message"]


async def test_too_long_a_document_is_refused_with_the_counts_unless_it_may_be_cut(ranker: Model) -> None:
    body = {"query": "mill", "documents": ["mill", "mill " * 400]}
    reply = await ranker.ask_for("/v1/rerank", **body)
    assert reply.status == 400
    assert reply.error["param"] == "documents[1]"
    assert reply.error["code"] == "context_length_exceeded"
    assert (await ranker.ask_for("/v1/rerank", **body, truncate=True)).status == 200


@pytest.mark.parametrize("text", ["", "\x00", "磨坊的水渠", "مطحنة", "🚰" * 20])
async def test_any_script_is_taken(feelings: Model, text: str) -> None:
    reply = await feelings.ask_for("/classify", input=text)
    assert reply.status == 200
    assert sum(reply.json()["data"][0]["probs"]) == pytest.approx(1, abs=1e-5)


async def test_the_prompt_of_a_retriever_changes_the_vector(start: Start) -> None:
    client = await serve(start, "bert-retriever")
    sample = next(sample for sample in REFERENCES["bert-retriever"] if sample["prompt"] is not None)
    body = {"input": sample["text"], "prompt_name": sample["prompt"]}
    vector = (await client.ask_for("/v1/embeddings", **body)).json()["data"][0]["embedding"]
    np.testing.assert_allclose(vector, sample["vector"], atol=1e-3)
    wrong = await client.ask_for("/v1/embeddings", input="a", prompt_name="nonsense")
    assert wrong.error["param"] == "prompt_name"

"""bert-worker over HTTP: with the real model where vectors count, with a held backend where time does."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import openai
import pytest

from headrace.config import BertWorkerSettings, load
from headrace.errors import ConfigError, ModelError, Overloaded
from headrace.workers.bert import folder
from headrace.workers.bert.app import BertWorker, build, load_backend
from headrace.workers.contract import Load
from tests.workers.bert.conftest import NAME, Start, until
from tests.workers.bert.harness import Client, FakeBackend, Reply

SAMPLES = json.loads((Path(__file__).parents[2] / "samples" / "minilm_reference.json").read_text())["samples"]
Served = tuple[BertWorker, Client]
PATH = "/v1/embeddings"


def vectors(reply: Reply) -> np.ndarray[Any, np.dtype[np.float32]]:
    assert reply.status == 200, reply.body
    return np.array([item["embedding"] for item in reply.json()["data"]], np.float32)


def body(text: object, **more: object) -> dict[str, object]:
    return {"model": NAME, "input": text, **more}


async def outcome(worker: BertWorker, endpoint: str, code: str) -> float:
    families = {family.name: family for family in worker.registry.snapshot()}
    children = families["bert_worker_requests_total"].children
    return sum(child.values[0] for child in children if child.labels == (endpoint, code))


# ---- the real model ----


async def test_embeddings_are_those_of_sentence_transformers(served: Served) -> None:
    texts = [sample["text"] for sample in SAMPLES]
    found = vectors(await served[1].post(PATH, body(texts, truncate=True)))
    expected = np.stack([np.frombuffer(base64.b64decode(sample["vector"]), "<f4") for sample in SAMPLES])
    assert (found * expected).sum(axis=1).min() >= 0.999


async def test_the_official_client_gets_its_vectors(served: Served) -> None:
    _, client = served
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{client.port}/v1", api_key="none") as sdk:
        answer = await sdk.embeddings.create(model=NAME, input=["The mill wheel turns.", "水车"], dimensions=32)
        listed = [model.id async for model in sdk.models.list()]
    assert [item.index for item in answer.data] == [0, 1]
    assert [len(item.embedding) for item in answer.data] == [32, 32]
    assert answer.model == NAME
    assert answer.usage.prompt_tokens == answer.usage.total_tokens
    assert listed == [NAME]


async def test_a_batch_gives_what_single_calls_give(served: Served) -> None:
    texts = ["a", "The mill wheel turns. " * 9, "", "مرحبا بالعالم", "nul\x00nul", "x" * 150]
    together = vectors(await served[1].post(PATH, body(texts)))
    alone = [vectors(await served[1].post(PATH, body(text)))[0] for text in texts]
    assert (together * np.stack(alone)).sum(axis=1).min() >= 0.9999


async def test_usage_counts_what_the_model_read(served: Served) -> None:
    texts = ["hello world", "", "水 " * 10]
    counts = [(await served[1].post("/tokenize", {"prompt": text})).json()["count"] for text in texts]
    usage = (await served[1].post(PATH, body(texts))).json()["usage"]
    assert usage == {"prompt_tokens": sum(counts), "total_tokens": sum(counts), "completion_tokens": 0}


async def test_token_ids_give_the_vector_of_their_text(served: Served) -> None:
    ids = (await served[1].post("/tokenize", {"prompt": "The mill wheel turns."})).json()["tokens"]
    text = vectors(await served[1].post(PATH, body("The mill wheel turns.")))
    np.testing.assert_array_equal(vectors(await served[1].post(PATH, body(ids))), text)
    np.testing.assert_allclose(vectors(await served[1].post(PATH, body([ids, ids])))[1], text[0], atol=0.01)


async def test_base64_is_the_same_as_float(served: Served) -> None:
    plain = vectors(await served[1].post(PATH, body("The mill wheel turns.")))
    packed = await served[1].post(PATH, body("The mill wheel turns.", encoding_format="base64"))
    assert base64.b64decode(packed.json()["data"][0]["embedding"]) == plain.astype("<f4").tobytes()


async def test_dimensions_cut_and_renormalise(served: Served) -> None:
    whole = vectors(await served[1].post(PATH, body("The mill wheel turns.")))[0]
    short = vectors(await served[1].post(PATH, body("The mill wheel turns.", dimensions=48)))[0]
    np.testing.assert_allclose(short, whole[:48] / np.linalg.norm(whole[:48]), atol=1e-6)


async def test_more_dimensions_than_the_model_has_is_an_error(served: Served) -> None:
    reply = await served[1].post(PATH, body("a", dimensions=385))
    assert (reply.status, reply.error["param"]) == (400, "dimensions")


async def test_an_over_long_text_is_refused_with_the_counts_unless_it_may_be_cut(served: Served) -> None:
    long = "word " * 598
    refused = await served[1].post(PATH, body(["short", long]))
    assert (refused.status, refused.error["param"]) == (400, "input[1]")
    assert "has 600 tokens and this model reads at most 256" in refused.error["message"]
    cut = await served[1].post(PATH, body(["short", long], truncate=True))
    assert cut.json()["usage"]["prompt_tokens"] == 3 + 256


async def test_over_long_token_ids_are_refused_unless_they_may_be_cut(served: Served) -> None:
    refused = await served[1].post(PATH, body([2773] * 300))
    assert (refused.status, refused.error["param"]) == (400, "input")
    assert (await served[1].post(PATH, body([2773] * 300, truncate=True))).json()["usage"]["prompt_tokens"] == 256


async def test_2048_inputs_are_answered_in_order_and_one_more_is_refused(served: Served) -> None:
    texts = [f"number {index % 100}" for index in range(2048)]
    reply = await served[1].post(PATH, body(texts))
    found = vectors(reply)
    assert [item["index"] for item in reply.json()["data"]] == list(range(2048))
    assert (found[:100] * found[1900:2000]).sum(axis=1).min() >= 0.999
    refused = await served[1].post(PATH, body([*texts, "one more"]))
    assert (refused.status, refused.error["param"]) == (400, "input")


async def test_tokenize_answers_as_vllm_does(served: Served) -> None:
    reply = await served[1].post("/tokenize", {"model": NAME, "prompt": "hello world", "return_token_strs": True})
    assert reply.json() == {
        "count": 4,
        "max_model_len": 256,
        "tokens": [101, 7592, 2088, 102],
        "token_strs": ["[CLS]", "hello", "world", "[SEP]"],
    }
    bare = await served[1].post("/tokenize", {"prompt": "hello world", "add_special_tokens": False})
    assert (bare.json()["tokens"], bare.json()["token_strs"]) == ([7592, 2088], None)


async def test_detokenize_answers_as_vllm_does(served: Served) -> None:
    reply = await served[1].post("/detokenize", {"tokens": [7592, 2088]})
    assert reply.json() == {"prompt": "hello world"}
    assert (await served[1].post("/detokenize", {"tokens": []})).json() == {"prompt": ""}
    refused = await served[1].post("/detokenize", {"tokens": [30522]})
    assert (refused.status, refused.error["param"]) == (400, "tokens")


async def test_models_lists_the_one_model(served: Served) -> None:
    listed = (await served[1].get("/v1/models")).json()
    assert listed["object"] == "list"
    (model,) = listed["data"]
    assert (model["id"], model["object"], model["max_model_len"]) == (NAME, "model", 256)


# ---- any model ----


async def test_another_model_is_not_found(start: Start, tiny: Path, backend: FakeBackend) -> None:
    _, client = await start(tiny, backend, name="mine")
    reply = await client.post(PATH, {"model": "theirs", "input": "w0"})
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")
    assert "'mine'" in reply.error["message"]


async def test_a_wrong_input_is_named(start: Start, tiny: Path, backend: FakeBackend) -> None:
    worker, client = await start(tiny, backend, name=NAME)
    reply = await client.post(PATH, body(["a", "b", "c", 4]))
    assert (reply.status, reply.error["param"]) == (400, "input[3]")
    assert await outcome(worker, "embeddings", "invalid_request") == 1


async def test_an_over_long_text_takes_the_rows_before_it_out_of_the_queue(
    start: Start, tiny: Path, backend: FakeBackend
) -> None:
    worker, client = await start(tiny, backend, name=NAME)
    backend.gate.clear()
    running = asyncio.create_task(client.post(PATH, body("w0")))
    await until(lambda: len(backend.batches) == 2)
    reply = await client.post(PATH, body(["w1"] * 200 + ["w2 " * 99]))
    assert (reply.status, reply.error["param"]) == (400, "input[200]")
    assert msgspec.json.decode(worker.load(), type=Load).queued_tokens == 0
    backend.gate.set()
    assert (await running).status == 200


async def test_a_client_that_goes_away_takes_its_rows_out_of_the_queue(
    start: Start, tiny: Path, backend: FakeBackend
) -> None:
    worker, client = await start(tiny, backend, name=NAME)
    backend.gate.clear()
    running = asyncio.create_task(client.post(PATH, body("w0")))
    await until(lambda: len(backend.batches) == 2)
    _, writer = await client.send("POST", PATH, json.dumps(body(["w1", "w2"])).encode())
    await until(lambda: msgspec.json.decode(worker.load(), type=Load).queued_tokens == 6)
    writer.close()
    await until(lambda: msgspec.json.decode(worker.load(), type=Load).waiting == 0)
    assert msgspec.json.decode(worker.load(), type=Load).queued_tokens == 0
    backend.gate.set()
    assert (await running).status == 200
    assert len(backend.batches) == 2
    assert await outcome(worker, "embeddings", "cancelled") == 1


async def test_a_full_queue_answers_503_with_retry_after(start: Start, tiny: Path, backend: FakeBackend) -> None:
    worker, client = await start(tiny, backend, name=NAME, max_waiting=2)
    backend.gate.clear()
    running = asyncio.create_task(client.post(PATH, body("w0")))
    await until(lambda: len(backend.batches) == 2)
    waiting = asyncio.create_task(client.post(PATH, body(["w1", "w2"])))
    await until(lambda: msgspec.json.decode(worker.load(), type=Load).queued_tokens == 6)
    refused = await client.post(PATH, body("w3"))
    assert (refused.status, refused.error["code"]) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    backend.gate.set()
    assert [(await task).status for task in (running, waiting)] == [200, 200]


async def test_load_tells_what_runs_and_waits(start: Start, tiny: Path, backend: FakeBackend) -> None:
    worker, client = await start(tiny, backend, name=NAME)
    idle = msgspec.json.decode(worker.load(), type=Load)
    assert (idle.running, idle.waiting, idle.iterations, idle.models[0].context) == (0, 0, 1, 16)
    assert (idle.models[0].name, idle.models[0].modality) == (NAME, "embedding")
    backend.gate.clear()
    tasks = [asyncio.create_task(client.post(PATH, body("w0")))]
    await until(lambda: len(backend.batches) == 2)
    tasks += [asyncio.create_task(client.post(PATH, body(["w1 w2", "w3"]))) for _ in range(3)]
    await until(lambda: msgspec.json.decode(worker.load(), type=Load).queued_tokens == 21)
    busy = msgspec.json.decode(worker.load(), type=Load)
    assert (busy.running, busy.waiting) == (1, 3)
    gauges = {
        family.name: family.children[0].values[0] for family in worker.registry.snapshot() if family.kind == "gauge"
    }
    assert gauges["bert_worker_rows_waiting"] == 6
    assert gauges["bert_worker_tokens_waiting"] == 21
    assert (gauges["bert_worker_requests_running"], gauges["bert_worker_requests_waiting"]) == (1, 3)
    backend.gate.set()
    assert {(await task).status for task in tasks} == {200}


async def test_a_draining_worker_finishes_and_takes_nothing_new(start: Start, tiny: Path, backend: FakeBackend) -> None:
    worker, client = await start(tiny, backend, name=NAME)
    backend.gate.clear()
    running = asyncio.create_task(client.post(PATH, body("w0")))
    await until(lambda: len(backend.batches) == 2)
    await worker.drain()
    assert worker.unready() == "draining"
    refused = await client.post(PATH, body("w1"))
    assert (refused.status, refused.error["code"]) == (503, "draining")
    backend.gate.set()
    assert (await running).status == 200


async def test_the_hop_secret_is_demanded_where_it_is_set(start: Start, tiny: Path, backend: FakeBackend) -> None:
    _, client = await start(tiny, backend, name=NAME, hop_secret="s" * 32)
    for headers in ({}, {"x-headrace-secret": "wrong"}, {"authorization": "Bearer wrong"}):
        assert (await client.post(PATH, body("w0"), headers)).status == 401
        assert (await client.get("/v1/models", headers)).status == 401
    assert (await client.post(PATH, body("w0"), {"x-headrace-secret": "s" * 32})).status == 200
    assert (await client.post(PATH, body("w0"), {"authorization": f"Bearer {'s' * 32}"})).status == 200


async def test_a_worker_whose_model_keeps_failing_is_not_ready(
    start: Start, tiny: Path, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    worker, client = await start(tiny, backend, name=NAME)
    assert worker.unready() is None
    backend.error = RuntimeError("no memory")
    with caplog.at_level(logging.CRITICAL, "headrace.workers.bert.engine"):
        replies = [await client.post(PATH, body("w0")) for _ in range(3)]
    assert {(reply.status, reply.error["code"]) for reply in replies} == {(500, "engine_error")}
    assert worker.unready() == "the model fails on every batch; see the log"
    assert (await client.post(PATH, body("w0"))).error["code"] == "not_ready"


async def test_a_worker_is_not_ready_before_its_first_embedding(tiny: Path, backend: FakeBackend) -> None:
    settings = load(BertWorkerSettings, flags={"model": tiny}, env=False)
    worker = BertWorker(settings, lambda model, own: backend)
    assert worker.unready() == "loading the model"
    with pytest.raises(Overloaded, match="loading its model"):
        worker.load()
    worker.registry.snapshot()
    backend.gate.clear()
    starting = asyncio.create_task(worker.start())
    await until(lambda: backend.batches)
    assert worker.unready() == "loading the model"
    backend.gate.set()
    await starting
    assert worker.unready() is None
    await worker.close()


async def test_the_worker_as_built_loads_its_folder(tiny: Path) -> None:
    worker = build(load(BertWorkerSettings, flags={"model": tiny}, env=False))
    await worker.start()
    assert worker.unready() is None
    await worker.close()


async def test_a_missing_folder_ends_the_start_with_the_way_out(tmp_path: Path) -> None:
    worker = build(load(BertWorkerSettings, flags={"model": tmp_path / "none"}, env=False))
    with pytest.raises(ModelError, match="headrace models pull demo"):
        await worker.start()
    await worker.close()


def test_device_that_is_not_there_is_refused_with_what_to_do(minilm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(BertWorkerSettings, flags={"model": minilm, "device": "cuda"}, env=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match="cuda needs torch: install the extra bert-cuda"):
        load_backend(folder.read(minilm), settings)


def test_without_openvino_the_cpu_is_refused_with_what_to_do(minilm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(BertWorkerSettings, flags={"model": minilm, "device": "cpu"}, env=False)
    monkeypatch.setitem(sys.modules, "headrace.workers.bert.openvino", None)
    with pytest.raises(ConfigError, match="cpu needs OpenVINO: install the extra bert"):
        load_backend(folder.read(minilm), settings)

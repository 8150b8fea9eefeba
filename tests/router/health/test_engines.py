"""Bare engines are recognised and read. The pages are as the engines' documentation shows them; no engine runs here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.router.health.watch import Watch
from headrace.router.worker import BARE_ENGINE_SLOTS, Load, ModelLoad, State, Worker
from headrace.service.secret import HopSecret
from tests.fakes import Behaviour, Call, FakeServer, answer

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 4.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1000.0
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 600.0
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="m"} 3.0
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 77.0
vllm:iteration_tokens_total_sum{engine="0",model_name="m"} 990.0
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="400"} 1.0
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="1",num_gpu_blocks="400"} 1.0
process_start_time_seconds 1.7e+09
"""
TRT = """trtllm_num_requests_running{engine_type="undefined",model_name="m"} 2.0
trtllm_num_requests_waiting{model_name="m"} 1.0
trtllm_kv_cache_max_blocks{model_name="m"} 100.0
trtllm_kv_cache_used_blocks{model_name="m"} 40.0
trtllm_kv_cache_tokens_per_block{model_name="m"} 32.0
trtllm_kv_cache_reused_blocks_total{model_name="m"} 30.0
trtllm_kv_cache_missed_blocks_total{model_name="m"} 10.0
trtllm_generation_tokens_total{model_name="m"} 500.0
trtllm_request_success_total{finished_reason="stop",model_name="m"} 7.0
"""
LLAMA = """llamacpp:requests_processing 2
llamacpp:requests_deferred 1
llamacpp:n_decode_total 321
"""
TEI = """te_queue_size 5
te_embed_success{method="single"} 40
te_embed_success{method="batch"} 2
"""


class Bare(FakeServer):
    """Serves pages by path; 404 elsewhere."""

    def __init__(self, **pages: Any) -> None:
        super().__init__()
        self.pages: dict[str, Any] = pages

    def behave(self, call: Call) -> Behaviour:
        page = self.pages.get(call.path)
        if page is None:
            return answer(404, b'{"detail":"Not Found"}')
        return answer(200, page.encode() if isinstance(page, str) else json.dumps(page).encode())


async def look(pages: dict[str, Any], pool: str = "m") -> Worker:
    """A look at an engine with these pages."""
    server = Bare(**pages)
    await server.start()
    worker = Worker(server.url, pools=[pool])
    await Watch(worker, lambda: 1.0, HopSecret(""), lambda worker: None, timeout=20).look()
    worker.close()
    await server.stop()
    return worker


def cards(owner: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": owner, **more} for name in names]}


async def test_vllm() -> None:
    models = cards("vllm", "m", max_model_len=8192, parent=None)
    models["data"].append({"id": "law", "owned_by": "vllm", "parent": "m", "max_model_len": None})
    worker = await look({"/v1/models": models, "/metrics": VLLM})
    assert (worker.engine, worker.state) == ("vllm", State.READY)
    assert worker.load == Load(
        running=5,
        waiting=4,
        max_running=BARE_ENGINE_SLOTS,
        kv_used=300,
        kv_total=800,
        block_size=16,
        iterations=77,
        models=(ModelLoad("m", 8192, ("law",)),),
        epoch="1700000000.000",
        prompt_tokens=1000,
        cached_tokens=600,
    )


async def test_vllm_without_metrics_is_still_served() -> None:
    worker = await look({"/v1/models": cards("vllm", "m")})
    assert (worker.engine, worker.state, worker.load.kv_total) == ("vllm", State.READY, 0)


async def test_tensorrt_llm() -> None:
    worker = await look({"/v1/models": cards("tensorrt_llm", "m"), "/prometheus/metrics": TRT})
    assert (worker.engine, worker.state) == ("trtllm", State.READY)
    load = worker.load
    assert (load.running, load.waiting, load.kv_used, load.kv_total, load.block_size) == (2, 1, 40, 100, 32)
    assert (load.iterations, load.prompt_tokens, load.cached_tokens) == (507, 40 * 32, 30 * 32)


async def test_tensorrt_llm_whose_metrics_are_off() -> None:
    worker = await look({"/v1/models": cards("tensorrt_llm", "m"), "/metrics": "[]"})
    assert (worker.engine, worker.state, worker.load.running) == ("trtllm", State.READY, 0)


async def test_llama_cpp() -> None:
    props = {"total_slots": 4, "default_generation_settings": {"n_ctx": 2048}, "model_path": "/x"}
    worker = await look({"/v1/models": cards("llamacpp", "m"), "/props": props, "/metrics": LLAMA})
    assert (worker.engine, worker.state, worker.slots) == ("llamacpp", State.READY, 4)
    load = worker.load
    assert (load.running, load.waiting, load.iterations, load.models) == (2, 1, 321, (ModelLoad("m", 2048),))


@pytest.mark.parametrize(
    ("kind", "modality"),
    [({"embedding": {"pooling": "cls"}}, "embedding"), ({"reranker": {}}, "rerank"), ("classifier", "classification")],
)
async def test_text_embeddings_inference(kind: object, modality: str) -> None:
    info = {"model_id": "BAAI/bge", "model_type": kind, "max_concurrent_requests": 512, "max_input_length": 514}
    worker = await look({"/info": info, "/metrics": TEI}, "BAAI/bge")
    assert (worker.engine, worker.state, worker.slots) == ("tei", State.READY, 512)
    assert worker.load.models == (ModelLoad("BAAI/bge", 514, modality=modality),)
    assert (worker.load.waiting, worker.load.iterations) == (5, 42)


async def test_any_other_openai_server() -> None:
    worker = await look({"/v1/models": cards("somebody", "m", max_model_len=10)})
    assert (worker.engine, worker.state, worker.slots) == ("openai", State.READY, BARE_ENGINE_SLOTS)
    assert worker.models["m"].context == 10


async def test_no_engine_at_all() -> None:
    worker = await look({})
    assert (worker.state, worker.reason) == (State.STARTING, "/v1/models answers 404")


async def test_other_engine_behind_the_same_address_is_recognised() -> None:
    server = Bare(**{"/v1/models": cards("vllm", "m"), "/metrics": VLLM})
    await server.start()
    worker = Worker(server.url, pools=["m"])
    watch = Watch(worker, lambda: 1.0, HopSecret(""), lambda worker: None, timeout=20)
    await watch.look()
    server.pages = {"/v1/models": cards("llamacpp", "m"), "/props": {"total_slots": 2}}
    await watch.look()
    assert (worker.engine, worker.slots) == ("llamacpp", 2)
    worker.close()
    await server.stop()

"""``trtllm-serve`` (TensorRT-LLM): its load from ``/prometheus/metrics``.

The page exists only with ``return_perf_metrics: true``; ``/metrics`` is a queue of JSON that one reader empties, so it
is left alone. Names differ between versions: each is optional.
"""

from __future__ import annotations

from headrace.router.health.engines.engine import Ask, ModelCard, models_of
from headrace.router.health.exposition import read
from headrace.router.worker import Load

_RUNNING = "trtllm_num_requests_running"
_WAITING = "trtllm_num_requests_waiting"
_BLOCKS = "trtllm_kv_cache_max_blocks"
_USED = "trtllm_kv_cache_used_blocks"
_SIZE = "trtllm_kv_cache_tokens_per_block"
_REUSED = "trtllm_kv_cache_reused_blocks_total"
_MISSED = "trtllm_kv_cache_missed_blocks_total"
_PROGRESS = ("trtllm_generation_tokens_total", "trtllm_prompt_tokens_total", "trtllm_request_success_total")


class TensorRt:
    name = "trtllm"

    async def look(self, ask: Ask, cards: list[ModelCard]) -> Load:
        answer = await ask("/prometheus/metrics")
        page = answer.body if answer.status == 200 else b""
        told = read(page, (_RUNNING, _WAITING, _BLOCKS, _USED, _SIZE, _REUSED, _MISSED, *_PROGRESS))
        size = int(told.get(_SIZE, 0))
        reused = int(told.get(_REUSED, 0))
        return Load(
            running=int(told.get(_RUNNING, 0)),
            waiting=int(told.get(_WAITING, 0)),
            kv_used=int(told.get(_USED, 0)),
            kv_total=int(told.get(_BLOCKS, 0)),
            block_size=size,
            iterations=int(sum(told.get(name, 0) for name in _PROGRESS)),
            models=models_of(cards),
            prompt_tokens=(reused + int(told.get(_MISSED, 0))) * size,
            cached_tokens=reused * size,
        )

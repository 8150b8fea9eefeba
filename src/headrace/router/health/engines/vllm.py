"""``vllm serve`` (V1 engine): its load from ``/metrics``."""

from __future__ import annotations

from headrace.router.health.engines.engine import Ask, ModelCard, models_of
from headrace.router.health.exposition import labels, read
from headrace.router.worker import Load

_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV = "vllm:kv_cache_usage_perc"
_STEPS = "vllm:iteration_tokens_total_count"
_ASKED = "vllm:prefix_cache_queries_total"
_HIT = "vllm:prefix_cache_hits_total"
_STARTED = "process_start_time_seconds"
_CACHE = "vllm:cache_config_info"
SERIES = (_RUNNING, _WAITING, _KV, _STEPS, _ASKED, _HIT, _STARTED)


class Vllm:
    """The step counter is the sign of life: ``running`` can read 0 in an engine that is wedged."""

    name = "vllm"

    async def look(self, ask: Ask, cards: list[ModelCard]) -> Load:
        answer = await ask("/metrics")
        page = answer.body if answer.status == 200 else b""
        told = read(page, SERIES)
        ranks = labels(page, _CACHE)  # one for each rank of a data-parallel engine, all alike
        rank = ranks[0] if ranks else {}
        blocks = _int(rank.get("num_gpu_blocks"))
        return Load(
            running=int(told.get(_RUNNING, 0)),
            waiting=int(told.get(_WAITING, 0)),
            kv_used=round(told.get(_KV, 0.0) * blocks),
            kv_total=blocks * len(ranks),
            block_size=_int(rank.get("block_size")),
            iterations=int(told.get(_STEPS, 0)),
            models=models_of(cards),
            epoch=f"{told[_STARTED]:.3f}" if _STARTED in told else "",
            prompt_tokens=int(told.get(_ASKED, 0)),
            cached_tokens=int(told.get(_HIT, 0)),
        )


def _int(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0

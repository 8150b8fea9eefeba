"""Everything that is taken for granted about ``trtllm-serve``.

Read, never run: the package on the index is a stub, and the real one needs a GPU. Sources: TensorRT-LLM's documentation
(``nvidia.github.io/TensorRT-LLM``: "trtllm-serve", "Prometheus Metrics", "LLM API arguments") and the sources of 1.x in
its repository: ``commands/serve.py``, ``serve/openai_server.py``, ``serve/openai_protocol.py``,
``metrics/collector.py``.

- The command line is ``trtllm-serve MODEL --host … --port …``; ``--extra_llm_api_options`` (later also ``--config``)
  names a YAML file whose entries win over the flags.
- It binds its port before it loads the model, but listens after: until then connections are refused.
- The served name is the last part of MODEL's path. Any ``model`` in a request is accepted.
- There is no API key: whoever reaches the port is served.
- ``GET /health`` is 200 or 503; ``GET /health_generate`` generates one token and is 200 or 500.
- Prometheus is at ``/prometheus/metrics``, with ``return_perf_metrics: true`` only. The gauges of iterations need
  ``enable_iter_perf_stats: true`` and are not in every 1.x: each is optional here.
- ``GET /metrics`` is JSON: the statistics of the iterations since it was last asked. One consumer empties it. Newer
  versions consume it themselves for Prometheus, so it is asked only where Prometheus does not tell.
- Statistics are written by iterations, and an idle engine makes none: the counts of the last one linger.
- Unknown fields of a request are refused with 400 (``extra="forbid"``), ``continue_final_message`` among them, also in
  the sources of November 2026: ``add_generation_prompt: false`` alone leaves the message closed by the template, and
  ``echo`` repeats it. So answers cannot be continued in chats.
- There is no ``/tokenize`` (newer versions have ``/_internal/tokenize``, of plain text only). The router finds that out
  by asking, and ends a stream that no other worker can go on with by an error event.
- A client that goes away is noticed within a second.
- An error inside the executor makes it raise SIGINT for itself, and end.
- SIGTERM ends it without waiting for what runs; the drain is the supervisor's.
"""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from headrace.config import TrtWorkerSettings
from headrace.workers.supervisor.ending import COMMON_CLUES, Exit, clue
from headrace.workers.supervisor.engine import Look
from headrace.workers.supervisor.exposition import Samples

PROGRAM = "trtllm-serve"
HEALTH = "/health"
GENERATE = "/health_generate"
MODELS = "/v1/models"
PROMETHEUS = "/prometheus/metrics"
ITERATIONS = "/metrics"
GRACE = 30.0
"""Seconds that the executor gets to free its GPUs."""

RUNNING = "trtllm_num_requests_running"
WAITING = "trtllm_num_requests_waiting"
KV_MAX = "trtllm_kv_cache_max_blocks"
KV_USED = "trtllm_kv_cache_used_blocks"
KV_BLOCK = "trtllm_kv_cache_tokens_per_block"
MOVING = frozenset(
    {
        RUNNING,
        WAITING,
        KV_USED,
        "trtllm_iteration_latency_seconds",
        "trtllm_num_requests_completed_total",
        "trtllm_generation_tokens_total",
        "trtllm_request_success_total",
        "trtllm_num_context_requests",
        "trtllm_num_generation_requests",
    }
)
"""There is no counter of iterations in Prometheus: whenever one of these changed, there was one."""
WATCHED = MOVING | {KV_MAX, KV_BLOCK}

CLUES = (
    *COMMON_CLUES,
    clue(
        r"out of memory|Insufficient memory|failed to allocate .* for KV cache",
        Exit.OUT_OF_MEMORY,
        "lower trt.context, trt.max_batch_tokens or trt.max_running, or raise trt.tensor_parallel",
    ),
    clue(
        r"Unknown architecture for AutoModelForCausalLM|Unsupported model architecture|architecture .* not supported",
        Exit.BAD_MODEL,
        "this TensorRT-LLM does not know the architecture: take a newer one, or serve the model with vLLM",
    ),
    clue(
        r"engine .*(version|incompatible|built with)|Deserialization failed|serialization assertion",
        Exit.BAD_MODEL,
        "the engine was built for another GPU or another TensorRT-LLM: build it again with this one",
    ),
    clue(r"Error: (No such option|Invalid value|Missing argument)", Exit.BAD_ARGUMENTS, "correct the trt settings"),
    clue(r"Failed to bind socket", Exit.BAD_ARGUMENTS, "another program has the port: stop it or choose another"),
)


class KvCacheStats(msgspec.Struct, rename="camel"):
    max_num_blocks: int = 0
    used_num_blocks: int = 0
    tokens_per_block: int = 0


class IterationStats(msgspec.Struct, rename="camel"):
    """One element of ``GET /metrics``."""

    iter: int = 0
    num_active_requests: int = 0
    num_queued_requests: int = 0
    kv_cache_stats: KvCacheStats | None = None


def command(program: str, model: str, host: str, settings: TrtWorkerSettings, options: str) -> list[str]:
    """The command line; ``options`` is the path of the YAML file."""
    flags: dict[str, Any] = {
        "--host": host,
        "--port": settings.port,
        "--backend": settings.backend,
        "--tp_size": settings.tensor_parallel,
        "--pp_size": settings.pipeline_parallel,
        "--ep_size": settings.expert_parallel,
        "--max_batch_size": settings.max_running,
        "--max_num_tokens": settings.max_batch_tokens,
        "--max_seq_len": settings.context,
        "--kv_cache_free_gpu_memory_fraction": settings.gpu_memory,
        "--tokenizer": settings.tokenizer,
        "--tool_parser": settings.tool_parser or None,
        "--reasoning_parser": settings.reasoning_parser or None,
        "--extra_llm_api_options": options,
    }
    line = [program, model]
    for flag, value in flags.items():
        line += [] if value is None else [flag, str(value)]
    line += ["--trust_remote_code"] if settings.trust_remote_code else []
    return [*line, *settings.arguments]


def options_file(settings: TrtWorkerSettings) -> str:
    """The YAML file: what has no flag. The settings' own ``options`` win, but not over what the supervisor needs."""
    return yaml.safe_dump(
        {
            "enable_chunked_prefill": settings.chunked_prefill,
            **settings.options,
            "return_perf_metrics": True,
            "enable_iter_perf_stats": True,
        }
    )


class Progress:
    """Counts iterations, from whatever tells of them."""

    def __init__(self) -> None:
        self._moves = 0
        self._last: tuple[object, ...] = ()

    def prometheus(self, text: bytes) -> Look | None:
        """The load, out of the text of ``/prometheus/metrics``; None where this version's does not tell it."""
        samples = Samples(text, WATCHED)
        if RUNNING not in samples:
            return None
        return self._look(
            tuple(samples.total(name) for name in sorted(MOVING)),
            int(samples.total(RUNNING)),
            int(samples.total(WAITING)),
            KvCacheStats(int(samples.total(KV_MAX)), int(samples.total(KV_USED)), int(samples.total(KV_BLOCK))),
        )

    def json(self, statistics: list[IterationStats], before: Look) -> Look:
        """The load after the iterations since ``before``."""
        if not statistics:
            return before
        last = statistics[-1]
        cache = last.kv_cache_stats or KvCacheStats(before.kv_total, before.kv_used, before.block_size)
        return self._look((last.iter,), last.num_active_requests, last.num_queued_requests, cache)

    def _look(self, state: tuple[object, ...], running: int, waiting: int, cache: KvCacheStats) -> Look:
        self._moves += state != self._last
        self._last = state
        return Look(running, waiting, self._moves, cache.used_num_blocks, cache.max_num_blocks, cache.tokens_per_block)

"""Everything that is taken for granted about vLLM: flags, paths, metrics, what it says when it fails.

Read in, and run with, the sources of 0.32.0 (``docs.vllm.ai/en/stable``: "vllm serve", "Production metrics",
"Environment variables"; in the package ``entrypoints/launchers/cli_args.py``, ``engine/arg_utils.py``,
``v1/metrics/loggers.py``, ``entrypoints/serve/middleware/authenticate.py``, ``v1/engine/core.py``):

- ``--api-key`` guards paths under ``/v1`` alone: ``/tokenize``, ``/metrics``, ``/health`` and ``/load`` are open.
- ``--max-num-queued-reqs`` counts requests that run too; beyond it requests get 503. Without it the queue is unbounded.
- ``--shutdown-timeout`` is 0 by default: SIGTERM aborts what runs. Above 0 the engine finishes what runs, but refuses
  what still comes.
- ``vllm:iteration_tokens_total`` is a histogram with one observation a step, so its count is the step counter.
- ``vllm:cache_config_info`` is a gauge of 1 whose labels hold the sizes of the KV cache.
- A Kubernetes Service named ``vllm`` injects ``VLLM_PORT=tcp://…``, which vLLM takes for a port number.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import yaml

from headrace.config import VllmWorkerSettings
from headrace.workers.supervisor.ending import COMMON_CLUES, Exit, clue
from headrace.workers.supervisor.engine import Look
from headrace.workers.supervisor.exposition import Samples

PROGRAM = "vllm"
HEALTH = "/health"
METRICS = "/metrics"
MODELS = "/v1/models"
COMPLETIONS = "/v1/completions"

STRAGGLERS = 5
"""Seconds that vLLM itself gives to what still runs at SIGTERM: the supervisor has waited before."""
GRACE = 20.0
"""Seconds that it takes to end then."""

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
STEPS = "vllm:iteration_tokens_total_count"
KV_USAGE = "vllm:kv_cache_usage_perc"
CACHE_CONFIG = "vllm:cache_config_info"
PREFIX_QUERIES = "vllm:prefix_cache_queries_total"
PREFIX_HITS = "vllm:prefix_cache_hits_total"
WATCHED = frozenset({RUNNING, WAITING, STEPS, KV_USAGE, CACHE_CONFIG, PREFIX_QUERIES, PREFIX_HITS})

CLUES = (
    *COMMON_CLUES,
    clue(
        r"No available memory for the cache blocks|is larger than the maximum number of tokens that can be stored in KV"
        r"|KV cache is needed, which is larger than the available KV cache memory|Free memory on device",
        Exit.OUT_OF_MEMORY,
        "set vllm.context lower, vllm.gpu_memory higher, vllm.tensor_parallel higher, or take a quantised model",
    ),
    clue(
        r"Failed to infer device type",
        Exit.NO_GPU,
        "give the container a GPU (nvidia.com/gpu, or --gpus); for a CPU install vLLM's CPU build",
    ),
    clue(
        r"Model architectures .* (are not supported|failed to be inspected)|has no vLLM implementation"
        r"|Cannot find model module",
        Exit.BAD_MODEL,
        "this vLLM does not know the architecture: take a newer vLLM, or another model",
    ),
    clue(
        r"(error: (unrecognized arguments|argument ))|invalid choice:", Exit.BAD_ARGUMENTS, "correct the vllm settings"
    ),
    clue(r"max_model_len .* is greater than the derived", Exit.BAD_ARGUMENTS, "set vllm.context lower"),
    clue(r"World size .* is larger than the number of available", Exit.NO_GPU, "lower vllm.tensor_parallel"),
)


def command(
    program: str, model: str, name: str, host: str, settings: VllmWorkerSettings, config: Path | None
) -> list[str]:
    """The command line; ``config`` is vLLM's YAML file with what must not be seen in a list of processes."""
    flags: dict[str, Any] = {
        "--host": host,
        "--port": settings.port,
        "--served-model-name": name,
        "--config": config,
        "--dtype": settings.dtype,
        "--quantization": settings.quantization or None,
        "--max-model-len": settings.context,
        "--max-num-seqs": settings.max_running,
        "--max-num-queued-reqs": settings.max_running * settings.data_parallel + settings.max_waiting,
        "--tensor-parallel-size": settings.tensor_parallel,
        "--pipeline-parallel-size": settings.pipeline_parallel,
        "--data-parallel-size": settings.data_parallel,
        "--gpu-memory-utilization": settings.gpu_memory,
        "--kv-cache-memory-bytes": int(settings.kv_cache_gib * 2**30) if settings.kv_cache_gib else None,
        "--kv-cache-dtype": settings.kv_cache_dtype,
        "--tool-call-parser": settings.tool_parser or None,
        "--reasoning-parser": settings.reasoning_parser or None,
        "--chat-template": settings.chat_template,
        "--kv-events-config": _kv_events(settings.kv_events),
        "--shutdown-timeout": STRAGGLERS,
    }
    line = [program, "serve", model]
    for flag, value in flags.items():
        line += [] if value is None else [flag, str(value)]
    line += ["--enable-auto-tool-choice"] if settings.tool_parser else []
    line += ["--trust-remote-code"] if settings.trust_remote_code else []
    line += ["--disable-uvicorn-access-log", "--enable-prompt-tokens-details"]
    return [*line, *_loras(settings), *settings.arguments]


def inputs(sees: bool, settings: VllmWorkerSettings) -> tuple[Literal["text", "image"], ...]:
    """What goes into a model; ``sees``: it takes images too, unless vLLM is told to leave that part out."""
    return ("text", "image") if sees and "--language-model-only" not in settings.arguments else ("text",)


def config_file(keys: list[str]) -> str:
    """vLLM's ``--config``: the API keys, any of which it accepts."""
    return yaml.safe_dump({"api-key": keys})


def variables(environment: dict[str, str]) -> dict[str, str]:
    """The environment, without what would make vLLM report home or stumble."""
    given = environment.get("VLLM_PORT", "")
    if given and not given.isdigit():
        environment = {name: value for name, value in environment.items() if name != "VLLM_PORT"}
    return {"VLLM_NO_USAGE_STATS": "1", **environment}


def completion(name: str) -> bytes:
    """The body of a request for one token."""
    return json.dumps({"model": name, "prompt": "Hello", "max_tokens": 1, "temperature": 0}).encode()


def look(text: bytes) -> Look:
    """The load, out of the text of ``/metrics``; ranks of a data-parallel engine are added up."""
    samples = Samples(text, WATCHED)
    blocks, block_size = 0, 0
    used = 0.0
    usage = {labels.get("engine"): value for labels, value in samples.all(KV_USAGE)}
    for labels, _ in samples.all(CACHE_CONFIG):
        rank_blocks = _number(labels.get("num_gpu_blocks"))
        blocks += rank_blocks
        block_size = block_size or _number(labels.get("block_size"))
        used += usage.get(labels.get("engine"), 0.0) * rank_blocks
    return Look(
        running=int(samples.total(RUNNING)),
        waiting=int(samples.total(WAITING)),
        iterations=int(samples.total(STEPS)),
        kv_used=round(used),
        kv_total=blocks,
        block_size=block_size,
        prompt_tokens=int(samples.total(PREFIX_QUERIES)),
        cached_tokens=int(samples.total(PREFIX_HITS)),
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdigit() else 0


def _kv_events(endpoint: str) -> str | None:
    if not endpoint:
        return None
    return json.dumps({"enable_kv_cache_events": True, "publisher": "zmq", "endpoint": endpoint})


def _loras(settings: VllmWorkerSettings) -> list[str]:
    if settings.loras is None:
        return []
    folders = sorted(path.parent for path in settings.loras.glob("*/adapter_config.json"))
    adapters = [f"{folder.name}={folder}" for folder in folders]
    modules = ["--lora-modules", *adapters] if adapters else []
    return ["--enable-lora", "--max-lora-rank", str(settings.lora_rank), *modules]

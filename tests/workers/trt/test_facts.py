from __future__ import annotations

from typing import Any

import pytest
import yaml

from headrace.config import TrtWorkerSettings, load
from headrace.workers.supervisor.ending import Exit, explain
from headrace.workers.supervisor.engine import Look
from headrace.workers.trt import facts
from headrace.workers.trt.facts import IterationStats, KvCacheStats, Progress


def settings(**flags: Any) -> TrtWorkerSettings:
    return load(TrtWorkerSettings, flags={"model": "/model/m", **flags}, env=False)


def line(**flags: Any) -> list[str]:
    return facts.command("/opt/trt/bin/trtllm-serve", "/tmp/m", "0.0.0.0", settings(**flags), "/tmp/options.yaml")


def value(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


def metrics(running: int, latency: float) -> bytes:
    labels = '{model_name="undefined"}'
    lines = {
        "trtllm_num_requests_running": running,
        "trtllm_num_requests_waiting": 1,
        "trtllm_iteration_latency_seconds": latency,
        "trtllm_kv_cache_max_blocks": 100,
        "trtllm_kv_cache_used_blocks": 7,
        "trtllm_kv_cache_tokens_per_block": 32,
    }
    return "".join(f"{name}{labels} {number}\n" for name, number in lines.items()).encode()


def test_the_command_line() -> None:
    command = line(context=4096, tensor_parallel=2, expert_parallel=2, max_running=64, arguments=["--revision", "x"])
    assert command[:2] == ["/opt/trt/bin/trtllm-serve", "/tmp/m"]
    assert value(command, "--backend") == "pytorch"
    assert value(command, "--tp_size") == "2"
    assert value(command, "--ep_size") == "2"
    assert value(command, "--max_batch_size") == "64"
    assert value(command, "--max_seq_len") == "4096"
    assert value(command, "--extra_llm_api_options") == "/tmp/options.yaml"
    assert command[-2:] == ["--revision", "x"]
    assert "--tokenizer" not in command


def test_the_options_keep_what_the_supervisor_needs() -> None:
    options = {"print_iter_log": True, "return_perf_metrics": False}
    document = yaml.safe_load(facts.options_file(settings(options=options, chunked_prefill=False)))
    assert document == {
        "enable_chunked_prefill": False,
        "print_iter_log": True,
        "return_perf_metrics": True,
        "enable_iter_perf_stats": True,
    }


def test_an_iteration_is_seen_by_what_it_changes() -> None:
    progress = Progress()
    first = progress.prometheus(metrics(2, 0.010))
    again = progress.prometheus(metrics(2, 0.010))
    moved = progress.prometheus(metrics(2, 0.011))
    assert first == again == Look(2, 1, 1, 7, 100, 32)
    assert moved is not None
    assert moved.iterations == 2


def test_a_prometheus_that_does_not_tell_leaves_it_to_the_statistics() -> None:
    progress = Progress()
    assert progress.prometheus(b"trtllm_request_success_total 3\n") is None
    before = Look(kv_total=10)
    assert progress.json([], before) is before
    statistics = [IterationStats(7, 1, 0), IterationStats(8, 2, 3, KvCacheStats(50, 4, 32))]
    assert progress.json(statistics, before) == Look(2, 3, 1, 4, 50, 32)
    assert progress.json([IterationStats(9, 2, 3)], Look(kv_total=50)).kv_total == 50


@pytest.mark.parametrize(
    ("text", "exit_"),
    [
        ("[TensorRT-LLM][ERROR] CUDA out of memory", Exit.OUT_OF_MEMORY),
        ("ValueError: No GPU devices found on the node", Exit.NO_GPU),
        ("ValueError: Unknown architecture for AutoModelForCausalLM: Foo", Exit.BAD_MODEL),
        ("Error: No such option: --frobnicate", Exit.BAD_ARGUMENTS),
        ("RuntimeError: Failed to bind socket to 0.0.0.0:8030", Exit.BAD_ARGUMENTS),
    ],
)
def test_why_it_ended(text: str, exit_: Exit) -> None:
    assert explain(1, ["INFO", text], facts.CLUES).exit is exit_

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.config import VllmWorkerSettings, load
from headrace.workers.supervisor.ending import Exit, explain
from headrace.workers.supervisor.engine import Look
from headrace.workers.vllm import facts

METRICS = b"""
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.1
vllm:iteration_tokens_total_bucket{engine="0",le="1.0"} 7.0
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 40.0
vllm:iteration_tokens_total_count{engine="1",model_name="m"} 2.0
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="100"} 1.0
vllm:cache_config_info{block_size="16",engine="1",num_gpu_blocks="100"} 1.0
"""


def settings(**flags: Any) -> VllmWorkerSettings:
    return load(VllmWorkerSettings, flags={"model": "/model/m", **flags}, env=False)


def line(config: Path | None = None, **flags: Any) -> list[str]:
    return facts.command("/opt/vllm/bin/vllm", "/model/m", "m", "0.0.0.0", settings(**flags), config)


def value(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


def test_the_command_line_of_the_defaults() -> None:
    command = line()
    assert command[:3] == ["/opt/vllm/bin/vllm", "serve", "/model/m"]
    assert value(command, "--served-model-name") == "m"
    assert value(command, "--port") == "8020"
    assert value(command, "--shutdown-timeout") == "5"
    assert value(command, "--max-num-seqs") == "256"
    assert value(command, "--max-num-queued-reqs") == "512"
    assert "--disable-uvicorn-access-log" in command
    for flag in ("--quantization", "--max-model-len", "--enable-lora", "--tool-call-parser", "--config"):
        assert flag not in command


def test_settings_become_flags() -> None:
    command = line(
        context=4096,
        tensor_parallel=2,
        pipeline_parallel=3,
        data_parallel=4,
        dtype="bfloat16",
        quantization="fp8",
        gpu_memory=0.5,
        kv_cache_gib=1.5,
        kv_cache_dtype="fp8",
        reasoning_parser="qwen3",
        max_running=10,
        max_waiting=5,
    )
    assert value(command, "--max-model-len") == "4096"
    assert value(command, "--tensor-parallel-size") == "2"
    assert value(command, "--pipeline-parallel-size") == "3"
    assert value(command, "--data-parallel-size") == "4"
    assert value(command, "--dtype") == "bfloat16"
    assert value(command, "--quantization") == "fp8"
    assert value(command, "--gpu-memory-utilization") == "0.5"
    assert value(command, "--kv-cache-memory-bytes") == str(1536 * 2**20)
    assert value(command, "--kv-cache-dtype") == "fp8"
    assert value(command, "--reasoning-parser") == "qwen3"
    assert value(command, "--max-num-queued-reqs") == "45"


def test_a_tool_parser_turns_tool_choice_on() -> None:
    command = line(tool_parser="hermes")
    assert value(command, "--tool-call-parser") == "hermes"
    assert "--enable-auto-tool-choice" in command


def test_kv_events_are_json() -> None:
    document = json.loads(value(line(kv_events="tcp://*:5557"), "--kv-events-config"))
    assert document == {"enable_kv_cache_events": True, "publisher": "zmq", "endpoint": "tcp://*:5557"}


@pytest.mark.parametrize(
    ("sees", "arguments", "inputs"),
    [
        (False, [], ("text",)),
        (True, [], ("text", "image")),
        (True, ["--language-model-only"], ("text",)),
    ],
)
def test_a_model_that_sees_takes_images(sees: bool, arguments: list[str], inputs: tuple[str, ...]) -> None:
    assert facts.inputs(sees, settings(arguments=arguments)) == inputs


def test_adapters_are_the_folders_that_hold_one(tmp_path: Path) -> None:
    for name in ("b", "a", "empty"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        (tmp_path / name / "adapter_config.json").touch()
    command = line(loras=tmp_path, lora_rank=32)
    at = command.index("--lora-modules")
    assert command[at + 1 : at + 3] == [f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}"]
    assert value(command, "--max-lora-rank") == "32"
    (tmp_path / "a" / "adapter_config.json").unlink()
    (tmp_path / "b" / "adapter_config.json").unlink()
    assert "--lora-modules" not in line(loras=tmp_path)


def test_further_arguments_come_last_and_verbatim() -> None:
    assert line(arguments=["--enforce-eager", "--seed", "7"])[-3:] == ["--enforce-eager", "--seed", "7"]


def test_keys_are_in_a_file_and_not_in_the_command_line(tmp_path: Path) -> None:
    assert value(line(tmp_path / "config.yaml"), "--config") == str(tmp_path / "config.yaml")
    assert yaml.safe_load(facts.config_file(["now", "before"])) == {"api-key": ["now", "before"]}


def test_a_service_named_vllm_does_no_harm() -> None:
    assert "VLLM_PORT" not in facts.variables({"VLLM_PORT": "tcp://10.0.0.1:8000"})
    assert facts.variables({"VLLM_PORT": "29500"})["VLLM_PORT"] == "29500"
    assert facts.variables({})["VLLM_NO_USAGE_STATS"] == "1"


def test_the_load_adds_up_the_ranks() -> None:
    expected = Look(running=4, waiting=2, iterations=42, kv_used=60, kv_total=200, block_size=16)
    assert facts.look(METRICS) == expected


def test_metrics_of_an_engine_that_tells_nothing() -> None:
    assert facts.look(b"") == Look()
    assert facts.look(b'vllm:cache_config_info{block_size="None",num_gpu_blocks="None"} 1.0\n') == Look()


@pytest.mark.parametrize(
    ("text", "exit_"),
    [
        ("ValueError: No available memory for the cache blocks. Try increasing", Exit.OUT_OF_MEMORY),
        ("RuntimeError: Failed to infer device type", Exit.NO_GPU),
        ("ValueError: Model architectures ['FooForCausalLM'] are not supported for now.", Exit.BAD_MODEL),
        ("vllm serve: error: unrecognized arguments: --frobnicate", Exit.BAD_ARGUMENTS),
        ("ValueError: World size (4) is larger than the number of available GPUs (1)", Exit.NO_GPU),
    ],
)
def test_why_it_ended(text: str, exit_: Exit) -> None:
    assert explain(1, ["INFO", text], facts.CLUES).exit is exit_

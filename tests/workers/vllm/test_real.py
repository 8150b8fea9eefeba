"""Real vLLM, beyond the contract: what it refuses, a sharded folder, and two of it behind a router."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.config import VllmWorkerSettings, load
from headrace.workers.supervisor.ending import Exit
from headrace.workers.vllm import facts
from tests.contract.kinds import VLLM, kinds
from tests.contract.worker import CHAT, PATIENCE, SECRET, LiveWorker, free_port

pytestmark = [
    pytest.mark.wheel,
    pytest.mark.e2e,
    pytest.mark.skipif(not VLLM, reason="vLLM is tested by `make test-vllm`"),
]
Make = Callable[..., LiveWorker]
TOKENS = 160


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """A worker that is not started yet."""
    workers: list[LiveWorker] = []

    def make_one(model: Path | None = None, **settings: Any) -> LiveWorker:
        folder = tmp_path_factory.mktemp("vllm")
        kind = kinds(folder)["vllm"]
        kind = dataclasses.replace(
            kind,
            model=model or kind.model,
            settings={**kind.settings, **settings},
            variables={"VLLM_CPU_KVCACHE_SPACE": "1"},
        )
        workers.append(LiveWorker(kind, folder))
        return workers[-1]

    yield make_one
    for worker in workers:
        worker.end()


@pytest.fixture(scope="module")
def pair(make: Make, tmp_path_factory: pytest.TempPathFactory) -> list[LiveWorker]:
    """Two workers of one model: the first has an adapter, the second its weights in shards."""
    folder = tmp_path_factory.mktemp("models")
    workers = [make(loras=str(adapter(folder / "loras")), lora_rank=8), make(sharded(folder / "sharded"))]
    for worker in workers:
        worker.spawn()
    return workers


@pytest.fixture
def ready(pair: list[LiveWorker]) -> list[LiveWorker]:
    for worker in pair:
        worker.wait_ready()
    return pair


def adapter(folder: Path) -> Path:
    """A folder with one LoRA adapter that changes what the model says; it learnt nothing."""
    script = (
        "import json, pathlib, sys, torch\n"
        "from safetensors.torch import save_file\n"
        "torch.manual_seed(0)\n"
        "names = [f'base_model.model.model.layers.{at}.self_attn.q_proj' for at in range(30)]\n"
        "shapes = {'A': (8, 576), 'B': (576, 8)}\n"
        "weights = {f'{name}.lora_{side}.weight': torch.randn(shapes[side]) * 0.3 for name in names for side in 'AB'}\n"
        "folder = pathlib.Path(sys.argv[1]); folder.mkdir(parents=True)\n"
        "save_file(weights, folder / 'adapter_model.safetensors')\n"
        "config = {'peft_type': 'LORA', 'task_type': 'CAUSAL_LM', 'r': 8, 'lora_alpha': 16, 'bias': 'none'}\n"
        "config |= {'target_modules': ['q_proj'], 'base_model_name_or_path': 'smollm2-135m'}\n"
        "(folder / 'adapter_config.json').write_text(json.dumps(config))\n"
    )
    subprocess.run([f"{VLLM}/bin/python", "-c", script, str(folder / "pirate")], check=True, capture_output=True)
    return folder


def sharded(target: Path) -> Path:
    """The model in several files, as large models come."""
    script = (
        "import sys; from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "AutoModelForCausalLM.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2], max_shard_size='150MB')\n"
        "AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])\n"
    )
    model = f"{VLLM}/models/smollm2-135m"
    subprocess.run([f"{VLLM}/bin/python", "-c", script, model, str(target)], check=True, capture_output=True)
    assert len(list(target.glob("model-*.safetensors"))) > 1
    return target


_PARSE = (
    "import json, sys\n"
    "from vllm.utils.argparse_utils import FlexibleArgumentParser\n"
    "from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args\n"
    "parser = FlexibleArgumentParser()\n"
    "serve = make_arg_parser(parser.add_subparsers(dest='command').add_parser('serve'))\n"
    "args = parser.parse_args(sys.argv[1:])\n"
    "validate_parsed_serve_args(args)\n"
    "print(json.dumps({name: str(value) for name, value in vars(args).items()}))\n"
)
_UNDERSTOOD = {
    "served_model_name": "['m']",
    "api_key": "['now', 'before']",
    "max_model_len": "1024",
    "tensor_parallel_size": "2",
    "data_parallel_size": "2",
    "max_num_queued_reqs": "768",
    "kv_cache_memory_bytes": str(1536 * 2**20),
    "enable_lora": "True",
    "tool_call_parser": "hermes",
    "enable_auto_tool_choice": "True",
    "shutdown_timeout": "5",
    "seed": "7",
}
"""By vLLM's names, of what the test below gives it."""


def test_vllm_understands_every_flag_that_settings_become(tmp_path: Path) -> None:
    """No engine is started: what its own parser makes of the longest command line."""
    adapter = tmp_path / "loras" / "pirate"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    template = tmp_path / "template.jinja"
    template.write_text("{{ messages }}")
    config = tmp_path / "config.yaml"
    config.write_text(facts.config_file(["now", "before"]))
    flags = {
        "model": tmp_path,
        "context": 1024,
        "tensor_parallel": 2,
        "pipeline_parallel": 2,
        "data_parallel": 2,
        "dtype": "bfloat16",
        "quantization": "fp8",
        "gpu_memory": 0.5,
        "kv_cache_gib": 1.5,
        "kv_cache_dtype": "fp8",
        "loras": tmp_path / "loras",
        "tool_parser": "hermes",
        "reasoning_parser": "qwen3",
        "kv_events": "tcp://*:5557",
        "chat_template": template,
        "trust_remote_code": True,
        "arguments": ["--seed", "7"],
    }
    settings = load(VllmWorkerSettings, flags=flags, env=False)
    command = facts.command("vllm", str(tmp_path), "m", "127.0.0.1", settings, config)
    ran = subprocess.run(
        [f"{VLLM}/bin/python", "-c", _PARSE, *command[1:]], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    understood = json.loads(ran.stdout.splitlines()[-1])
    assert {name: understood[name] for name in _UNDERSTOOD} == _UNDERSTOOD
    assert "pirate" in understood["lora_modules"]
    assert "tcp://*:5557" in understood["kv_events_config"]


def test_an_argument_that_vllm_does_not_know_ends_it_with_the_reason(make: Make) -> None:
    worker = make(arguments=["--frobnicate"])
    worker.spawn()
    assert worker.wait_ended() == Exit.BAD_ARGUMENTS
    assert "unrecognized arguments: --frobnicate" in worker.last_words().splitlines()[-1]


def test_an_architecture_that_vllm_does_not_know_ends_it_with_the_reason(make: Make, tmp_path: Path) -> None:
    source, folder = Path(VLLM) / "models" / "smollm2-135m", tmp_path / "foo"
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).symlink_to(path)
    config = json.loads((source / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["FooForCausalLM"]}))
    worker = make(model=folder, arguments=["--enforce-eager", "--model-impl", "vllm"])
    worker.spawn()
    assert worker.wait_ended() == Exit.BAD_MODEL
    assert "FooForCausalLM" in worker.last_words().splitlines()[-1]


def test_adapters_are_told_and_served_under_their_names(ready: list[LiveWorker]) -> None:
    worker = ready[0]
    (model,) = worker.load()["models"]
    assert (model["name"], model["adapters"]) == (worker.name, ["pirate"])
    path, body = worker.generation(16)
    plain, adapted = (worker.post(path, {**body, "model": name}).json() for name in (worker.name, "pirate"))
    assert adapted["model"] == "pirate"
    assert adapted["choices"][0]["message"]["content"] != plain["choices"][0]["message"]["content"]


def test_a_stream_survives_the_kill_of_its_engine(ready: list[LiveWorker], tmp_path: Path) -> None:
    with routed(ready, tmp_path) as port:
        whole = Streaming(port).finish()
        broken = Streaming(port)
        serving = broken.serving(ready)
        for process in serving.kind.engines(serving.process):
            process.kill()
        check(broken.finish(), whole)


def test_a_stream_survives_the_kill_of_its_worker(ready: list[LiveWorker], tmp_path: Path) -> None:
    with routed(ready, tmp_path) as port:
        whole = Streaming(port).finish()
        broken = Streaming(port)
        broken.serving(ready).signal(signal.SIGKILL)
        check(broken.finish(), whole)


def check(resumed: Told, whole: Told) -> None:
    """Whole and billed once. What was said after the seam may differ: the text's tokens are counted anew there."""
    assert resumed.finish_reason == "length"
    assert resumed.completion_tokens == whole.completion_tokens == TOKENS
    assert resumed.text[:100] == whole.text[:100]


@dataclasses.dataclass
class Told:
    """What a client got in the end."""

    text: str
    finish_reason: str
    completion_tokens: int


class Streaming:
    """A client of the router, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        messages = [{"role": "user", "content": "Write a story about a mill and its river."}]
        body = {"model": "vllm-model", "messages": messages, "max_tokens": TOKENS, "temperature": 0, "stream": True}
        body |= {"ignore_eos": True, "stream_options": {"include_usage": True}}
        headers = {"content-type": "application/json", "x-headrace-secret": SECRET, "x-headrace-model": "vllm-model"}
        self._connection.request("POST", CHAT, json.dumps(body), headers)
        self._response: http.client.HTTPResponse | None = None
        self._lines: list[str] = []
        self._got_on = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def serving(self, workers: list[LiveWorker]) -> LiveWorker:
        """The worker that answers, once a good part of the answer is there."""
        assert self._got_on.wait(PATIENCE)
        assert self._response is not None
        address = self._response.headers["x-headrace-worker"]
        return next(worker for worker in workers if address == f"127.0.0.1:{worker.port}")

    def finish(self) -> Told:
        self._thread.join(PATIENCE)
        assert self._lines[-1] == "data: [DONE]", self._lines[-3:]
        events = [json.loads(line.removeprefix("data: ")) for line in self._lines[:-1]]
        choices = [choice for event in events for choice in event["choices"]]
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
        (reason,) = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
        return Told(text, reason, events[-1]["usage"]["completion_tokens"])

    def _read(self) -> None:
        with contextlib.closing(self._connection):
            self._response = self._connection.getresponse()
            for line in self._response:
                if line.startswith(b"data: "):
                    self._lines.append(line.decode().strip())
                if len(self._lines) > TOKENS // 4:
                    self._got_on.set()


@contextlib.contextmanager
def routed(workers: list[LiveWorker], scratch: Path) -> Iterator[int]:
    """The router in front of the workers; its port."""
    port = free_port()
    specifications = [
        f"vllm-model=http://127.0.0.1:{worker.port},ops=http://127.0.0.1:{worker.ops}" for worker in workers
    ]
    settings = {"port": port, "ops_port": free_port(), "hop_secret": SECRET, "workers": specifications}
    file = scratch / "router.yaml"
    file.write_text(yaml.safe_dump({"router": {**settings, "host": "127.0.0.1"}}))
    with (scratch / "router.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace", "router", "--config", str(file)], stdout=output, stderr=output
        )
    try:
        workers[0].wait_until("the router is there", lambda: _answers(port))
        yield port
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        with contextlib.closing(connection):
            connection.request("GET", "/pools", headers={"x-headrace-secret": SECRET})
            return connection.getresponse().read().count(b'"state":"ready"') == 2
    except OSError:
        return False

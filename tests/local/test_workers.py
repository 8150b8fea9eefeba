"""Which workers run for which models on which machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from headrace import models
from headrace.config import UpSettings, UpWorker, load
from headrace.errors import ConfigError, ModelError
from headrace.local.workers import Machine, choose, offer
from headrace.models import Store, hub
from headrace.models.hub import Offer, RemoteFile

PLAIN = Machine(gpu=False, programs=frozenset())
GPU = Machine(gpu=True, programs=frozenset({"vllm"}))
NO_TENSORS = b"\x02\0\0\0\0\0\0\0{}"


def fill(folder: Path, weights: str, data: bytes, **config: object) -> None:
    folder.mkdir(parents=True)
    (folder / weights).write_bytes(data)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The demo's models, and one for a GPU."""
    directory = tmp_path / "models"
    fill(directory / models.CHAT, "openvino_model.xml", b"", architectures=["LlamaForCausalLM"])
    fill(directory / models.EMBEDDING, "model.safetensors", NO_TENSORS, model_type="bert")
    fill(directory / "llama", "model.safetensors", NO_TENSORS, architectures=["LlamaForCausalLM"])
    return Store(directory)


def chosen(store: Store, machine: Machine, *entries: UpWorker) -> list[tuple[str, str]]:
    return [(worker.engine.kind, worker.name) for worker in choose(entries, store, machine, Console())]


def test_the_demo_is_the_default_everywhere(store: Store) -> None:
    demo = [("cpu", models.CHAT), ("bert", models.EMBEDDING)]
    assert chosen(store, PLAIN) == chosen(store, GPU) == demo


def test_a_gpu_with_vllm_serves_what_is_for_it(store: Store) -> None:
    assert chosen(store, GPU, UpWorker(model="llama", count=2)) == [("vllm", "llama")] * 2
    trt = Machine(gpu=True, programs=frozenset({"trt"}))
    assert chosen(store, trt, UpWorker(model="llama")) == [("trt", "llama")]


def test_any_mix_runs(store: Store) -> None:
    entries = (UpWorker(model="llama"), UpWorker(model=models.CHAT, name="chat"), UpWorker(model=models.EMBEDDING))
    assert chosen(store, GPU, *entries) == [("vllm", "llama"), ("cpu", "chat"), ("bert", models.EMBEDDING)]


def test_the_engine_may_be_named_also_without_a_gpu(store: Store) -> None:
    assert chosen(store, PLAIN, UpWorker(model="llama", engine="vllm")) == [("vllm", "llama")]


def test_an_engine_that_cannot_serve_it_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="cpu does not serve llama: use vllm or trt"):
        chosen(store, GPU, UpWorker(model="llama", engine="cpu"))


@pytest.mark.parametrize(
    ("machine", "lacks"), [(PLAIN, "it has no GPU"), (Machine(True, frozenset()), "no such program on the PATH")]
)
def test_what_the_machine_lacks_is_told(store: Store, machine: Machine, lacks: str) -> None:
    with pytest.raises(ConfigError, match=rf"llama \(safetensors\) is for vllm or trt.*{lacks}.*Take a GGUF"):
        chosen(store, machine, UpWorker(model="llama"))


def test_a_folder_anywhere_is_served(store: Store, tmp_path: Path) -> None:
    fill(tmp_path / "mine", "openvino_model.xml", b"", architectures=["LlamaForCausalLM"])
    (worker,) = choose([UpWorker(model=str(tmp_path / "mine"))], store, PLAIN, Console())
    assert (worker.name, worker.model.path) == ("mine", tmp_path / "mine")


def test_a_hub_id_that_is_there_is_not_fetched_again(store: Store) -> None:
    assert chosen(store, GPU, UpWorker(model="organisation/llama")) == [("vllm", "llama")]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            {"architectures": ["LlamaForCausalLM"]},
            r"organisation/new \(safetensors\) is for vllm or trt.*it has no GPU",
        ),
        ({"architectures": ["ViTModel"], "model_type": "vit"}, "organisation/new: no engine here serves ViTModel"),
    ],
)
def test_what_cannot_run_here_is_not_fetched(
    store: Store, monkeypatch: pytest.MonkeyPatch, config: dict[str, object], told: str
) -> None:
    files = [RemoteFile("model.safetensors", 1 << 40), RemoteFile("config.json", 100)]
    monkeypatch.setattr(hub, "_look_up", lambda *_: Offer("commit", None, config, files))
    with pytest.raises((ConfigError, ModelError), match=told):
        chosen(store, PLAIN, UpWorker(model="organisation/new"))
    assert store.partial() == {}


def test_models_that_are_not_there_are_told(store: Store) -> None:
    with pytest.raises(ModelError, match="no model 'ghost'"):
        chosen(store, PLAIN, UpWorker(model="ghost"))
    with pytest.raises(ModelError, match="get it with: headrace models pull demo"):
        choose([], Store(store.directory / "elsewhere"), PLAIN, Console())


def test_a_gpu_that_lies_idle_is_offered() -> None:
    assert "headrace up --model" in offer([], GPU)
    assert offer([UpWorker(model="llama")], GPU) == ""
    assert offer([], PLAIN) == ""
    assert offer([], Machine(True, frozenset())) == ""


def test_the_machine_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "vllm"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Machine.look(lambda path: path == "/dev/nvidia0") == GPU
    assert Machine.look(lambda _: False).gpu is False


def test_the_file_names_workers(tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text("up:\n  workers:\n    - {model: llama, count: 2, engine: vllm, gpus: '0'}\n    - model: other\n")
    first, second = load(UpSettings, file=file, env=False).workers
    assert (first.model, first.count, first.engine, first.gpus) == ("llama", 2, "vllm", "0")
    assert second == UpWorker(model="other")


def test_a_wrong_entry_is_told_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text("up:\n  workers:\n    - {model: llama, engine: gguf}\n")
    with pytest.raises(ConfigError, match=r"up\.workers\.0\.engine"):
        load(UpSettings, file=file, env=False)

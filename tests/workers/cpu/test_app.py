"""The life of a worker: its engine dies and comes back, models that cannot be served, metrics."""

from __future__ import annotations

import http.client
import logging
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from headrace.errors import ModelError
from headrace.telemetry.exposition import render
from headrace.workers.cpu.app import build
from tests.workers.cpu.conftest import CONTEXT, NAME, LiveWorker, settings

pytestmark = pytest.mark.e2e


def test_load_tells_the_truth_when_idle(live: LiveWorker) -> None:
    live.wait_idle()
    load = live.load()
    assert (load.max_running, load.block_size, load.kv_used, load.draining) == (8, 32, 0, False)
    assert load.kv_total == 100 * 2**20 // (32 * 11520 * 4)
    assert (load.models[0].name, load.models[0].context) == (NAME, CONTEXT)


def test_load_moves_while_it_works(live: LiveWorker) -> None:
    before = live.load().iterations
    with closing(live.open("/v1/completions", prompt="x", max_tokens=2000, ignore_eos=True)) as stream:
        stream.getresponse()
        live.wait_until("blocks are in use", lambda: live.load().kv_used > 0)
        live.wait_until("it moves", lambda: live.load().iterations > before + 3)
    live.wait_idle()


def test_metrics_count_requests_and_tokens(live: LiveWorker) -> None:
    def value(sample: str) -> float:
        text = render(live.worker.registry.snapshot()).body.decode()
        return float(next(line for line in text.splitlines() if line.startswith(sample + " ")).split()[-1])

    names = {
        'cpu_worker_requests_total{finish_reason="length"}': 1,
        "cpu_worker_prompt_tokens_total": 3,
        "cpu_worker_generation_tokens_total": 4,
        "cpu_worker_ttft_seconds_count": 1,
        "cpu_worker_itl_seconds_count": 3,
        "cpu_worker_queue_wait_seconds_count": 1,
    }
    before = {name: value(name) for name in names}
    live.ok("/v1/completions", prompt=[28, 28, 28], max_tokens=4, ignore_eos=True)
    assert {name: value(name) - before[name] for name in names} == names
    assert value("cpu_worker_requests_running") == 0
    assert value("cpu_worker_iterations_total") == live.load().iterations


def test_engine_that_dies_is_started_again(live: LiveWorker, caplog: pytest.LogCaptureFixture) -> None:
    epoch, pid = live.load().epoch, live.worker.engine_pid
    assert pid is not None
    with closing(live.open("/v1/completions", prompt="x", max_tokens=2000, ignore_eos=True)) as stream:
        response = stream.getresponse()
        response.readline()
        with caplog.at_level(logging.ERROR):
            os.kill(pid, signal.SIGKILL)
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):  # cut, so that nobody takes it for whole
                response.read()
    refused = live.post("/v1/completions", prompt="x", max_tokens=1)
    assert (refused.status, refused.error["code"]) == (503, "not_ready")
    assert live.load().running == 0
    live.wait_until("it is ready again", lambda: live.worker.unready() is None)
    assert live.load().epoch != epoch
    assert live.worker.engine_pid != pid
    assert live.ok("/v1/completions", prompt="x", max_tokens=2, ignore_eos=True)["usage"]["completion_tokens"] == 2
    assert "the engine process was ended by SIGKILL" in [getattr(record, "reason", "") for record in caplog.records]


def test_engine_that_hangs_is_killed_and_started_again(live: LiveWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = live.worker.engine_pid
    assert pid is not None
    monkeypatch.setattr(live.worker.progress, "timeout", 1.0)
    with closing(live.open("/v1/completions", prompt="x", max_tokens=2000, ignore_eos=True)) as stream:
        stream.getresponse().readline()
        os.kill(pid, signal.SIGSTOP)
        live.wait_until("it says so", lambda: (live.worker.unready() or "").startswith("stalled"))
        monkeypatch.setattr(live.worker, "wedged_after", 1.0)
        live.wait_until("it was killed", lambda: live.worker.unready() == "loading the model")
    monkeypatch.undo()
    live.wait_until("it is ready again", lambda: live.worker.unready() is None)
    assert live.worker.engine_pid != pid


def test_missing_folder_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="headrace models pull demo"):
        build(settings(model=tmp_path / "nowhere"))


async def test_damage_that_only_the_engine_finds(tmp_path: Path) -> None:
    (tmp_path / "openvino_model.xml").write_text("<net/>")
    (tmp_path / "config.json").write_text(
        '{"architectures":["LlamaForCausalLM"],"max_position_embeddings":64,"num_hidden_layers":1,'
        '"num_attention_heads":1,"hidden_size":8}'
    )
    worker = build(settings(model=tmp_path))
    with pytest.raises(ModelError, match="cannot be"):
        await worker.start()
    assert worker.unready() == "loading the model"


def test_small_cache_cuts_the_context(model_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    worker = build(settings(model=model_folder, kv_cache_mib=64))
    load = worker.snapshot()
    assert load.models[0].context == load.kv_total * 32 < 8192
    assert "raise kv_cache_mib" in caplog.text


def test_secret_guards_every_path(model_folder: Path) -> None:
    worker = build(settings(model=model_folder, hop_secret="s"))
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/completions"), ("POST", "/tokenize")):
        assert worker.routes.find(method, path).__qualname__.startswith("Worker.route")

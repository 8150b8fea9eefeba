"""``GET /load`` against the truth."""

from __future__ import annotations

from tests.contract.kinds import RUNNING
from tests.contract.worker import LiveWorker


def test_it_tells_what_it_serves(worker: LiveWorker) -> None:
    load = worker.load()
    (model,) = load["models"]
    assert model["name"] == worker.name
    assert model["context"] > 0
    assert model["modality"] == ("text" if worker.kind.text else "embedding")
    assert load["max_running"] == RUNNING or not worker.kind.text
    assert load["epoch"] == worker.load()["epoch"]
    assert load["draining"] is False


def test_it_tells_how_much_runs(worker: LiveWorker) -> None:
    with worker.under_load(2):
        assert worker.busy() == 2
    worker.wait_idle()


def test_the_step_counter_moves_with_work(worker: LiveWorker) -> None:
    before = worker.load()["iterations"]
    path, body = worker.generation()
    assert worker.post(path, body).status == 200
    worker.wait_until("iterations moved", lambda: worker.load()["iterations"] > before)


def test_the_cache_is_held_by_what_runs(text_worker: LiveWorker) -> None:
    load = text_worker.load()
    assert load["kv_used"] == 0
    assert load["kv_total"] > 0
    assert load["block_size"] > 0
    with text_worker.under_load(1):
        text_worker.wait_until("blocks are held", lambda: 0 < text_worker.load()["kv_used"] <= load["kv_total"])


def test_a_client_that_goes_away_frees_its_place(worker: LiveWorker) -> None:
    with worker.under_load(1, tokens=1500) as (request,):
        request.leave()
        worker.wait_idle()

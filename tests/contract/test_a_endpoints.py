"""Both ports of a worker, and who may use them."""

from __future__ import annotations

from tests.contract.worker import LiveWorker


def test_it_was_not_ready_before_it_could_generate(worker: LiveWorker) -> None:
    states = [state for state in worker.starting if state[0]]
    assert states[-1] == (200, "ok")
    assert all(status == 503 and reason for status, reason in states[:-1])


def test_the_process_is_alive(worker: LiveWorker) -> None:
    assert worker.get("/livez", ops=True).status == 200


def test_it_lists_its_model_under_the_name_of_the_pool(worker: LiveWorker) -> None:
    models = worker.get("/v1/models").json()["data"]
    assert [model["id"] for model in models] == [worker.name]
    if worker.kind.names_models:
        assert models[0]["max_model_len"] > 0


def test_its_metrics_are_prometheus_text_with_the_state_of_the_worker(worker: LiveWorker) -> None:
    metrics = worker.metrics()
    assert metrics["llm_worker_ready"] == 1
    assert metrics["llm_worker_draining"] == 0
    assert metrics["llm_worker_stalled"] == 0
    assert metrics["llm_worker_restarts_total"] >= 0


def test_who_does_not_know_the_secret_is_refused(worker: LiveWorker) -> None:
    if not worker.kind.guarded:  # the engine knows no keys: network policies are its guard
        return
    path, body = worker.generation()
    assert worker.post(path, body, secret="").status == 401
    assert worker.post(path, body, secret="wrong").status == 401
    assert worker.get("/v1/models", secret="").status == 401


def test_an_unknown_path_is_no_error_of_the_worker(worker: LiveWorker) -> None:
    assert worker.get("/v1/nothing").status == 404
    assert worker.get("/nothing", ops=True).status == 404

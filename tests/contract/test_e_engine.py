"""An engine that stands still, and one that dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.contract.worker import LiveWorker


def test_a_stalled_engine_makes_its_worker_unready_and_back(engine_worker: LiveWorker) -> None:
    worker = engine_worker
    with worker.under_load(1, tokens=200) as (request,):
        with _stopped(worker):
            worker.wait_until("it calls itself stalled", lambda: worker.readyz()[1].startswith("stalled"))
            assert worker.readyz()[0] == 503
            assert worker.metrics()["llm_worker_stalled"] == 1
            assert worker.metrics()["llm_worker_ready"] == 0
            assert worker.get("/livez", ops=True).status == 200
        worker.wait_ready()
        assert not request.finish().broken


def test_an_engine_that_stays_wedged_is_killed_and_started_again(engine_worker: LiveWorker) -> None:
    worker = engine_worker
    before, restarts = worker.load()["epoch"], worker.metrics()["llm_worker_restarts_total"]
    with worker.under_load(1, tokens=200) as (request,):
        _stop(worker)
        assert request.finish().broken
    worker.wait_until("another engine is there", lambda: worker.load()["epoch"] != before)
    worker.wait_ready()
    assert worker.metrics()["llm_worker_restarts_total"] == restarts + 1
    path, body = worker.generation()
    assert worker.post(path, body).status == 200


def test_a_dead_engine_cuts_its_answers_and_comes_back_with_a_new_epoch(engine_worker: LiveWorker) -> None:
    worker = engine_worker
    before = worker.load()["epoch"]
    with worker.under_load(2, tokens=600) as requests:
        for request in requests:
            request.begun.wait(60)
        for process in worker.kind.engines(worker.process):
            os.kill(process.pid, signal.SIGKILL)
        for request in requests:
            assert request.finish().broken, "a clean end means a whole answer"
    worker.wait_until("another engine is there", lambda: worker.load()["epoch"] != before)
    worker.wait_ready()
    path, body = worker.generation()
    assert worker.post(path, body).status == 200


def _stop(worker: LiveWorker) -> list[psutil.Process]:
    engines = worker.kind.engines(worker.process)
    assert engines
    for process in engines:
        process.suspend()
    return engines


@contextmanager
def _stopped(worker: LiveWorker) -> Iterator[None]:
    engines = _stop(worker)
    try:
        yield
    finally:
        for process in engines:
            process.resume()

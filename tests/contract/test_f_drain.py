"""The end of a worker loses nothing."""

from __future__ import annotations

import signal

import psutil

from tests.contract.kinds import RUNNING
from tests.contract.worker import BATCH, LiveWorker


def test_sigterm_under_load_loses_nothing(worker: LiveWorker) -> None:
    family = worker.process.children(recursive=True)
    with worker.under_load(RUNNING, tokens=100) as requests:
        worker.signal(signal.SIGTERM)
        worker.wait_until("it is draining", lambda: worker.readyz() == (503, "draining"))
        assert worker.load()["draining"] is True
        assert worker.metrics()["llm_worker_draining"] == 1
        replies = [request.finish() for request in requests]
    assert [reply.status for reply in replies] == [200] * RUNNING
    for reply in replies:
        if worker.kind.text:
            choices = [choice for event in reply.events() for choice in event["choices"]]
            assert choices[-1]["finish_reason"] == "length"
        else:
            assert len(reply.json()["data"]) == BATCH
    assert worker.wait_ended() == 0, worker.last_words()
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_a_drain_can_be_asked_for_from_this_machine(worker: LiveWorker) -> None:
    assert worker.post("/drain", b"", ops=True, secret="").status == 202
    assert worker.wait_ended() == 0, worker.last_words()

"""Whose fault it is: the client's (4xx), too much work (503), or the engine's (the connection is cut)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.contract.kinds import RUNNING, WAITING
from tests.contract.worker import LiveWorker


@pytest.fixture(autouse=True)
def _still_ready(worker: LiveWorker) -> Any:
    """A client's error never counts against a worker."""
    yield
    assert worker.readyz() == (200, "ok")


def test_a_body_that_is_no_json_is_refused(worker: LiveWorker) -> None:
    path, _ = worker.generation()
    _check(worker, worker.post(path, b"{"), 400)


def test_a_missing_field_is_refused(worker: LiveWorker) -> None:
    path, _ = worker.generation()
    _check(worker, worker.post(path, {"model": worker.name}), 400)


def test_a_model_that_it_does_not_serve_is_not_found(worker: LiveWorker) -> None:
    if not worker.kind.names_models:
        return
    path, body = worker.generation()
    _check(worker, worker.post(path, {**body, "model": "another"}), 404)


def test_a_prompt_over_the_context_is_refused(worker: LiveWorker) -> None:
    path, body = worker.generation()
    if worker.kind.text:
        body["messages"] = [{"role": "user", "content": "word " * 20_000}]
    else:
        body["input"] = "word " * 20_000
    _check(worker, worker.post(path, body), 400)


def test_more_than_it_can_queue_is_refused_with_503(text_worker: LiveWorker) -> None:
    if not text_worker.kind.bounded:  # the router's slots are the bound
        return
    with text_worker.under_load(RUNNING + WAITING):
        path, body = text_worker.generation()
        reply = text_worker.post(path, body)
        assert reply.status == 503
        assert reply.json()["error"]["message"]


def test_no_status_comes_before_the_first_token(text_worker: LiveWorker) -> None:
    """Else a router could not go to another worker unseen."""
    with text_worker.under_load(RUNNING, tokens=600):
        waiting = text_worker.slow(5)
        time.sleep(1)
        if text_worker.load()["waiting"]:  # on a fast machine those before it may be through
            assert not waiting.begun.is_set()
        waiting.leave()


def _check(worker: LiveWorker, reply: Any, status: int) -> None:
    assert reply.status == status, reply.body
    if worker.kind.names_models:
        assert reply.json()["error"]["message"]

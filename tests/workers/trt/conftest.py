"""trt-worker around the stand-in, as a process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.kinds import kinds
from tests.contract.worker import LiveWorker

Make = Callable[..., LiveWorker]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A worker that is not started yet; keywords are variables of the stand-in, ``settings`` are the worker's."""
    workers: list[LiveWorker] = []

    def make_one(settings: dict[str, Any] | None = None, **variables: str) -> LiveWorker:
        kind = kinds(tmp_path)["trt"]
        kind = dataclasses.replace(
            kind, settings={**kind.settings, **(settings or {})}, variables={**kind.variables, **variables}
        )
        worker = LiveWorker(kind, tmp_path)
        workers.append(worker)
        return worker

    yield make_one
    for worker in workers:
        worker.end()

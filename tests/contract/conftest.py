"""One live worker of each kind. A test that ends it leaves it to the next test to start another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.kinds import PARAMS, kinds
from tests.contract.worker import LiveWorker


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/contract/" in item.nodeid:
            item.add_marker(pytest.mark.e2e)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every worker, or only those that can do what the test is about."""
    if "one" not in metafunc.fixturenames:
        return
    generating = not {"text_worker", "engine_worker"}.isdisjoint(metafunc.fixturenames)
    metafunc.parametrize("one", [kind for kind in PARAMS if not generating or kind.values[0] != "bert"], indirect=True)


@pytest.fixture(scope="session")
def one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorker]:
    scratch = tmp_path_factory.mktemp(request.param)
    worker = LiveWorker(kinds(scratch)[request.param], scratch)
    try:
        yield worker
    finally:
        worker.end()


@pytest.fixture
def worker(one: LiveWorker) -> LiveWorker:
    """Ready, with nothing to do."""
    if not one.running:
        one.start()
    one.wait_ready()
    one.wait_idle()
    return one


@pytest.fixture
def text_worker(worker: LiveWorker) -> LiveWorker:
    """One that generates text."""
    return worker


@pytest.fixture
def engine_worker(worker: LiveWorker) -> LiveWorker:
    """One whose engine is a process of its own."""
    return worker

"""One running platform for all tests, and more of them for the tests that end one."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from openai import OpenAI

from tests.e2e.stack import CHAT_MODEL, EMBEDDING_MODEL, Home, Stack

_HOMES = pytest.StashKey[list[Home]]()
_LOG_TAIL = 6000
"""Characters of each log that a failure shows."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of what runs beside a failure."""
    report = yield
    if report.failed:
        for home in item.config.stash.get(_HOMES, []):
            report.sections += [(f"{home.path.name}: {name}", text[-_LOG_TAIL:]) for name, text in home.logs().items()]
    return report


@contextmanager
def kept(config: pytest.Config, home: Home) -> Iterator[None]:
    """End whatever was started in ``home``, and look at what it logged."""
    homes = config.stash.setdefault(_HOMES, [])
    homes.append(home)
    try:
        yield
    finally:
        home.end()
    homes.remove(home)  # where it did not even start, its logs are still to be shown
    home.check_logs()


@pytest.fixture(scope="session")
def models() -> Path:
    """``HEADRACE_TEST_MODELS`` is a folder of model folders, as ``headrace models pull`` lays them out."""
    given = os.environ.get("HEADRACE_TEST_MODELS")
    folder = Path(given).absolute() if given else Path(__file__).parents[2] / ".headrace" / "models"
    for name in (CHAT_MODEL, EMBEDDING_MODEL):
        if not (folder / name).is_dir():
            pytest.fail(f"{folder} has no {name}: run `HEADRACE_HOME=.headrace headrace models pull demo`")
    return folder


@pytest.fixture(scope="session")
def running(models: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Stack]:
    # A worker that was killed must be back before those that wait for it are refused, also on a busy machine.
    stack = Stack(tmp_path_factory.mktemp("stack"), models, {"router": {"cold_wait": 60}})
    with kept(pytestconfig, stack):
        stack.start()
        yield stack


@pytest.fixture
def stack(running: Stack) -> Stack:
    """The platform of the session, with nothing to do."""
    running.wait_ready()
    running.wait_idle()
    return running


@pytest.fixture
def client(stack: Stack) -> Iterator[OpenAI]:
    with closing(stack.client()) as client:
        yield client


@pytest.fixture
def own_stack(models: Path, tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Stack]:
    """A platform to be ended."""
    stack = Stack(tmp_path, models)
    with kept(pytestconfig, stack):
        stack.start()
        yield stack

"""A fleet for each test of chaos, with its logs where one fails."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.chaos.fleet import Fleet

_FLEETS = pytest.StashKey[list[Fleet]]()
_LOG_TAIL = 4000
"""Characters of each log that a failure shows."""


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for fleet in item.config.stash.get(_FLEETS, []):
            report.sections += [(name, text[-_LOG_TAIL:]) for name, text in fleet.logs().items()]
    return report


@pytest.fixture
def seed() -> int:
    """What all of a test's chance comes from: ``SEED`` of the environment, or another one each time."""
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"SEED={seed}")  # noqa: T201  shown when the test fails
    return seed


StartFleet = Callable[..., Fleet]


@pytest.fixture
def start_fleet(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[StartFleet]:
    """Start a fleet; takes what ``Fleet`` takes."""
    fleets = pytestconfig.stash.setdefault(_FLEETS, [])

    def start(*args: Any, **options: Any) -> Fleet:
        fleet = Fleet(tmp_path, *args, **options)
        fleets.append(fleet)
        fleet.start()
        return fleet

    yield start
    while fleets:
        fleet = fleets.pop()
        fleet.end()
        fleet.check_logs()

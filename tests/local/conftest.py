from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.local.guard import Guard
from tests.local.yard import Yard


@pytest.fixture
def guard() -> Iterator[Guard]:
    guard = Guard(grace=5.0)
    yield guard
    guard.close()


@pytest.fixture
def yard(tmp_path: Path, guard: Guard) -> Yard:
    return Yard(tmp_path, guard)

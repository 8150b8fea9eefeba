"""Waiting for what happens in other processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

PATIENCE = 120.0
"""Seconds; generous, since other programs may keep this machine busy."""

T = TypeVar("T")


def wait_until(what: str, look: Callable[[], T], patience: float = PATIENCE) -> T:
    """What ``look`` returns as soon as it is true."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {patience:.0f} s in vain until {what}")
        time.sleep(0.05)
    return found

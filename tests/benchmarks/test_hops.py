"""The hops without sockets: they answer as they would with them, and figures come of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from benchmarks import hops


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


async def test_each_hop_answers_a_request_and_passes_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    async with hops.hops(str(tmp_path)) as pair:
        calls = await hops.calls(pair)
        assert set(calls) == {"api", "router"}
        assert all(any("Relay.begin" in function for function in counter) for counter in calls.values())
        figures = await hops.measure(pair, rounds=1)
    assert set(figures) == {"JSON request", "chunk of a stream"}
    assert all(set(by) == {"api", "router"} for by in figures.values())
    assert all(value > 0 for by in figures.values() for value in by.values())

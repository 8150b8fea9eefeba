"""Exemplars on their way: a real Prometheus asks the ops port for OpenMetrics, and keeps the traces."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.service.ops import ops_routes
from headrace.service.secret import HopSecret
from headrace.telemetry.exposition import Page, render
from headrace.telemetry.metrics import TTFT_BUCKETS, Registry
from headrace.wire.server import Server

TRACE = "0af7651916cd43dd8448eb211c80319c"
PATIENCE = 90.0


class View:
    """An ``OpsView`` of one registry; remembers what was asked for."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.accepted: list[str] = []

    async def unready(self) -> str | None:
        return None

    async def metrics(self, accept: str) -> Page:
        self.accepted.append(accept)
        return render(self._registry.snapshot(), accept)

    async def load(self) -> bytes | None:
        return None

    async def debug(self, path: str) -> bytes | None:
        return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A real one, which scrapes the second of the two ports that are its own and its target's."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian's package prometheus)")
    own, target = free_port(), free_port()
    scrape = {"job_name": "llm-api", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    pace = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({"global": pace, "scrape_configs": [scrape]}))
    line = [program, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    line += [f"--web.listen-address=127.0.0.1:{own}", "--enable-feature=exemplar-storage"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(line, stdout=log, stderr=log) as process:
        yield own, target
        process.kill()


def ask(port: int, path: str, query: dict[str, str]) -> list[Any]:
    """Prometheus' answer; nothing where it is not there yet."""
    url = f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            data = json.load(answer)["data"]
    except urllib.error.URLError:
        return []
    found: list[Any] = data["result"] if isinstance(data, dict) else data
    return found


async def until(port: int, path: str, query: dict[str, str]) -> list[Any]:
    """Its answer as soon as it has one."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await asyncio.to_thread(ask, port, path, query)):
            await asyncio.sleep(0.2)
    return found


async def test_a_real_prometheus_keeps_the_traces(prometheus: tuple[int, int]) -> None:
    own, target = prometheus
    registry = Registry()
    registry.histogram("llm_api_ttft_seconds", "H.", ["model"], TTFT_BUCKETS).labels("m").observe(0.3, TRACE)
    registry.counter("llm_api_requests_total", "C.", ["status"]).labels("200").inc(3)
    view = View(registry)
    listener = socket.create_server(("127.0.0.1", target))
    listener.setblocking(False)
    server = Server(ops_routes(view, HopSecret("", ""), lambda: None))
    await server.start(listener)
    bucket = {"query": 'llm_api_ttft_seconds_bucket{job="llm-api"}', "start": "0", "end": "4102444800"}
    try:
        (series,) = await until(own, "/api/v1/query_exemplars", bucket)
        counted = await until(own, "/api/v1/query", {"query": "llm_api_requests_total"})
    finally:
        await server.close()
    assert series["seriesLabels"]["le"] == "0.5"
    assert {one["labels"]["trace_id"] for one in series["exemplars"]} == {TRACE}
    assert [one["value"][1] for one in counted] == ["3"]
    assert all("openmetrics" in accept for accept in view.accepted)

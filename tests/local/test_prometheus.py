"""Prometheus beside the platform: what it is told, and the real one with it."""

from __future__ import annotations

import asyncio
import http.server
import json
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.config import UpSettings, load
from headrace.errors import ConfigError
from headrace.local import prometheus
from headrace.local.child import Program, State
from headrace.local.prometheus import Target
from tests.local.yard import Yard, free_port, until
from tests.threaded import Quiet, serving

TARGETS = (Target("llm-api", "llm-api", 9100), Target("cpu-worker", "cpu-worker-2", 9141))


def configuration(**exporters: str) -> Any:
    text = prometheus.configuration(TARGETS, exporters=exporters, interval=0.5)
    return yaml.safe_load(text)


def test_each_service_is_scraped_with_the_labels_of_a_cluster() -> None:
    jobs = {job["job_name"]: job["static_configs"] for job in configuration()["scrape_configs"]}
    assert jobs == {
        "llm-api": [{"targets": ["127.0.0.1:9100"], "labels": {"namespace": "local", "pod": "llm-api"}}],
        "cpu-worker": [
            {
                "targets": ["127.0.0.1:9141"],
                "labels": {"namespace": "local", "pod": "cpu-worker-2"},
            }
        ],
    }


def test_further_exporters_are_jobs_of_their_own() -> None:
    jobs = {job["job_name"]: job["static_configs"] for job in configuration(dcgm="127.0.0.1:9400")["scrape_configs"]}
    assert jobs["dcgm"] == [{"targets": ["127.0.0.1:9400"]}]


def test_what_one_scrape_may_bring_is_bounded() -> None:
    for job in configuration(dcgm="127.0.0.1:9400")["scrape_configs"]:
        assert job["sample_limit"] > 1000
        assert job["body_size_limit"]


def test_the_interval_holds_for_scrapes_and_rules() -> None:
    assert set(configuration()["global"].values()) == {"500ms"}


def test_the_rules_are_those_of_the_checkout() -> None:
    assert prometheus.rules().parts[-3:] == ("deploy", "monitoring", "rules")


def test_a_missing_prometheus_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="apt-get install prometheus"):
        prometheus.binary()


@pytest.mark.parametrize("address", ["127.0.0.1", "http://127.0.0.1:9400/metrics", "127.0.0.1:many"])
def test_an_exporter_is_host_and_port(address: str) -> None:
    with pytest.raises(ConfigError, match="exporters"):
        load(UpSettings, flags={"exporters": {"dcgm-exporter": address}}, env=False)


@pytest.fixture(params=[b"node_exporter_build_info 1\n", b"llm_api_in_flight 0\n"])
def exporter(request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    """Where something serves metrics, and whether it is a node-exporter."""

    class Handler(Quiet, http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(request.param)

    with serving(Handler) as address:
        yield address, b"node" in request.param


def test_a_node_exporter_is_told_from_others(exporter: tuple[str, bool]) -> None:
    address, real = exporter
    assert prometheus.node_exporter(address) == (address if real else "")


def test_no_node_exporter_is_found_where_nothing_listens() -> None:
    assert prometheus.node_exporter(f"127.0.0.1:{free_port()}") == ""


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Debian's prometheus")
async def test_the_real_one_scrapes_and_ends_at_once(yard: Yard, tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "prometheus.yml"
    file.write_text(prometheus.configuration([Target("prometheus", "prometheus", port)], exporters={}, interval=0.5))
    line = prometheus.command(prometheus.binary(), file=file, data=tmp_path / "data", port=port)
    child = yard.child(Program("prometheus", line, prometheus.environment(), port, ready_path="/-/ready"))
    running = asyncio.create_task(child.run())
    await until(lambda: child.state is State.READY, 60)

    def scraped() -> bool:
        url = f"http://127.0.0.1:{port}/api/v1/query?query=up"
        with closing(urllib.request.urlopen(url, timeout=30)) as answer:
            found = json.load(answer)["data"]["result"]
        return [(one["metric"]["pod"], one["value"][1]) for one in found] == [("prometheus", "1")]

    await until(scraped, 60)
    assert await child.stop(60)
    await running

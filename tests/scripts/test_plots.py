"""The plots, against a small server that answers as Prometheus does."""

from __future__ import annotations

import http.server
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from scripts.plots import main

from tests.threaded import Quiet, serving


class _Answers(Quiet, http.server.BaseHTTPRequestHandler):
    """One series that grows for the queue, one without a number for workers, and nothing else."""

    def do_GET(self) -> None:
        (query,) = parse_qs(urlsplit(self.path).query)["query"]
        assert "$" not in query
        series = []
        if "llm_router_queue_depth" in query:
            series = [{"metric": {"pool": "a<b"}, "values": [[at, str(at % 7)] for at in range(1_000, 1_060, 10)]}]
        elif "llm_router_workers" in query:
            series = [{"metric": {"state": "ready"}, "values": [[1_000, "NaN"]]}]
        body = json.dumps({"status": "success", "data": {"result": series}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def url() -> Iterator[str]:
    with serving(_Answers) as address:
        yield f"http://{address}"


def test_panels_with_data_are_drawn(url: str, tmp_path: Path) -> None:
    main(url, tmp_path)
    names = {path.stem for path in tmp_path.glob("*.svg")}
    assert {"dashboard-overview", "dashboard-router", "dashboard-slo"} <= names
    text = "\n".join(ET.parse(tmp_path / "dashboard-router.svg").getroot().itertext())
    assert "Waiting, by model" in text
    assert "a<b" in text
    assert "Workers by state" not in text, "a panel without a number was drawn"
    assert "not Grafana" in text

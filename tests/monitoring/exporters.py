"""Exporters beside the platform: Debian's node-exporter as it is, and the samples of those that cannot run here."""

from __future__ import annotations

import http.server
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.stack import free_port
from tests.threaded import Quiet, serving

_TYPE = re.compile(r"# TYPE (\S+) (\w+)")
_VALUE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{.*\})? (\S+)$")


def grown(text: str, times: int) -> str:
    """A sample whose counters and histograms have counted ``times`` times as much: without growth there is no rate."""
    lines = []
    counts = False
    for line in text.splitlines():
        if typed := _TYPE.match(line):
            counts = typed[2] in ("counter", "histogram")
        elif counts and (value := _VALUE.match(line)):
            line = f"{value[1]}{value[2] or ''} {float(value[3]) * times}"  # noqa: PLW2901
        lines.append(line)
    return "\n".join(lines) + "\n"


@contextmanager
def sample(path: Path) -> Iterator[str]:
    """Serves it; its counters grow with each scrape. Yields host:port."""
    text = path.read_text(encoding="utf-8")
    scrapes = 0

    class Handler(Quiet, http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal scrapes
            scrapes += 1
            body = grown(text, scrapes).encode()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as address:
        yield address


@contextmanager
def node_exporter(program: str) -> Iterator[str]:
    """The real one, on a free port. Yields host:port."""
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [program, f"--web.listen-address={address}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield address
    finally:
        process.terminate()
        process.wait(30)

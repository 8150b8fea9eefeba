"""Plots dashboards from a live Prometheus: ``python -m scripts.plots URL FOLDER [MINUTES]`` writes an SVG for each.

The queries are the dashboards' own, over the last minutes; the pictures are not Grafana's. Panels without data are left
out, and so are tables.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
import urllib.request
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from scripts.dashboards.__main__ import ALL
from scripts.dashboards.grafana import Dashboard, Panel

_COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf")
_ACROSS = 3
_WIDTH, _HEIGHT = 380, 210
_LEFT, _TOP, _RIGHT = 58, 34, 10
_PLOT = 110
"""Pixels, as all of these."""
_MOST_LINES = 4
_UNITS = {
    "percentunit": (100, " %"),
    "s": (1, " s"),
    "bytes": (1 / 2**20, " MiB"),
    "celsius": (1, " °C"),
    "watt": (1, " W"),
}

Line = tuple[str, list[tuple[float, float]]]


class Source:
    """Prometheus at ``url``, over the last ``minutes``."""

    def __init__(self, url: str, minutes: float) -> None:
        self._url = url.rstrip("/")
        self.end = time.time()
        self.start = self.end - minutes * 60

    def lines(self, panel: Panel) -> list[Line]:
        found: list[Line] = []
        for query in panel.queries:
            expr = re.sub(r"\$\w+", ".*", re.sub(r"\$__(rate_interval|range)", "1m", query.expr))
            for series in self._ask(expr):
                points = [(at, float(value)) for at, value in series["values"] if math.isfinite(float(value))]
                if points:
                    found.append((_name(query.legend, series["metric"]), points))
        return found

    def _ask(self, expr: str) -> Any:
        step = max(1, (self.end - self.start) / 120)
        parameters = urlencode({"query": expr, "start": self.start, "end": self.end, "step": step})
        with urllib.request.urlopen(f"{self._url}/api/v1/query_range?{parameters}", timeout=30) as answer:
            return json.load(answer)["data"]["result"]


def _name(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend).strip()


def draw(dashboard: Dashboard, source: Source) -> str:
    """The SVG."""
    cells: list[str] = []
    for row in dashboard.rows:
        for panel in row.panels:
            lines = source.lines(panel) if panel.kind != "table" else []
            if lines:
                place = len(cells)
                x, y = place % _ACROSS * _WIDTH, 50 + place // _ACROSS * _HEIGHT
                cells.append(f'<g transform="translate({x} {y})">{_panel(panel, lines, source)}</g>')
    height = 60 + math.ceil(len(cells) / _ACROSS) * _HEIGHT
    caption = "plotted from a live Prometheus by the dashboards' queries, not Grafana"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_ACROSS * _WIDTH} {height}" '
        f'width="{_ACROSS * _WIDTH}" height="{height}" font-family="sans-serif" font-size="10">'
        f'<rect width="100%" height="100%" fill="white"/>'
        f'<text x="14" y="26" font-size="17" font-weight="bold">Headrace / {escape(dashboard.title)}</text>'
        f'<text x="14" y="42" fill="#666">{caption}</text>{"".join(cells)}</svg>\n'
    )


def _panel(panel: Panel, lines: Sequence[Line], source: Source) -> str:
    factor, unit = _UNITS.get(panel.unit, (1, ""))
    top = max((value * factor for _, points in lines for _, value in points), default=0) or 1
    wide = _WIDTH - _LEFT - _RIGHT
    parts = [f'<text x="{_LEFT}" y="20" font-size="12" font-weight="bold">{escape(panel.title)}</text>']
    for share in (0.0, 0.5, 1.0):
        y = _TOP + _PLOT * (1 - share)
        parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + wide}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 3}" text-anchor="end" fill="#444">{top * share:.3g}{unit}</text>')
    for number, (name, points) in enumerate(lines):
        color = _COLORS[number % len(_COLORS)]
        path = " ".join(
            f"{_LEFT + wide * (at - source.start) / (source.end - source.start):.1f},"
            f"{_TOP + _PLOT * (1 - max(0.0, value * factor) / top):.1f}"
            for at, value in points
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        if number < _MOST_LINES:
            x, y = _LEFT + number % 2 * wide / 2, _TOP + _PLOT + 18 + number // 2 * 13
            parts.append(f'<text x="{x}" y="{y}" fill="{color}">{escape(name[:28])}</text>')
    if len(lines) > _MOST_LINES:
        y = _TOP + _PLOT + 44
        parts.append(f'<text x="{_LEFT}" y="{y}" fill="#666">and {len(lines) - _MOST_LINES} more</text>')
    return "".join(parts)


def main(url: str, folder: Path, minutes: float = 10) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    source = Source(url, minutes)
    for dashboard in ALL:
        path = folder / f"{dashboard.uid.replace('headrace', 'dashboard')}.svg"
        path.write_text(draw(dashboard, source), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), *map(float, sys.argv[3:]))

"""Reads a few series out of Prometheus' text format.

An engine's page has a thousand lines and more, and is read twice a second for every worker: prometheus-client's parser
would take longer than the router takes for its requests.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

_LABEL = re.compile(rb'(\w+)="((?:[^"\\]|\\.)*)"')


def read(page: bytes, names: Iterable[str]) -> dict[str, float]:
    """The sum over all label sets of each of ``names`` that the page has. Lines that make no sense are left out."""
    wanted = {name.encode(): name for name in names}
    prefixes = tuple(wanted)
    found: dict[str, float] = {}
    for line in page.split(b"\n"):
        if not line.startswith(prefixes):
            continue
        series, _, rest = line.partition(b"}") if b"{" in line else line.partition(b" ")
        name = wanted.get(series.partition(b"{")[0])
        if name is None:
            continue
        try:
            value = float(rest.split()[0])
        except (ValueError, IndexError):
            continue
        if math.isfinite(value):
            found[name] = found.get(name, 0.0) + value
    return found


def labels(page: bytes, name: str) -> list[dict[str, str]]:
    """The labels of each series of ``name``."""
    start = name.encode() + b"{"
    lines = [line for line in page.split(b"\n") if line.startswith(start)]
    return [{key.decode(): value.decode(errors="replace") for key, value in _LABEL.findall(line)} for line in lines]

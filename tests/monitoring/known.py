"""Every metric that there is: of the code, of the exporters' samples, of the recording rules, of Prometheus itself."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.metrics import catalogue, series

from tests.monitoring.rules import ROOT, RULES

SAMPLES = sorted((ROOT / "tests" / "samples").glob("*.prom"))
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? [^ ]+$", re.MULTILINE)
_LABEL = re.compile(r'([a-zA-Z_]\w*)="')
TARGET = {"job", "instance", "namespace", "pod", "model", "optional"}
"""Labels that a scrape configuration gives."""


def of_code() -> dict[str, set[str]]:
    """Series with their labels."""
    return {
        name: {*family.label_names, *(["le"] if family.kind == "histogram" else [])}
        for families in catalogue().values()
        for family in families
        for name in series(family)
    }


def of_sample(path: Path) -> dict[str, set[str]]:
    """prometheus-client's parser would add ``_total`` to counters of exporters that do without."""
    found: dict[str, set[str]] = {}
    for name, labels in _SAMPLE.findall(path.read_text(encoding="utf-8")):
        found.setdefault(name, set()).update(_LABEL.findall(labels))
    return found


def known() -> dict[str, set[str]]:
    found = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}}
    found |= of_code()
    for path in SAMPLES:
        found |= of_sample(path)
    recorded = {"namespace", "model", "source", "kind", "tenant", "code"}
    return found | {rule.name: recorded for rule in RULES if not rule.alert}

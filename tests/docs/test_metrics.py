"""docs/metrics.md is what the code has, and what the code has keeps to one scheme."""

from __future__ import annotations

import re

import pytest
from scripts.metrics import PAGE, catalogue, render, series

FAMILIES = [(service, family) for service, families in catalogue().items() for family in families]
PREFIXES = {
    "llm-api": "llm_api_",
    "router": "llm_router_",
    "every worker": "llm_worker_",
    "cpu-worker": "cpu_worker_",
    "bert-worker": "bert_worker_",
}
BOUNDED = {
    *("path", "endpoint", "model", "pool", "alias", "status", "code", "reason", "outcome", "finish_reason", "tenant"),
    *("kind", "owner", "limit", "priority", "state", "stage", "verdict", "worker", "engine"),
}
"""Labels whose values were thought about: docs/metrics.md says how many each can have."""


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m scripts.metrics"


@pytest.mark.parametrize(("service", "family"), FAMILIES, ids=lambda value: getattr(value, "name", ""))
def test_names_keep_to_the_scheme(service: str, family: object) -> None:
    found = next(one for _, one in FAMILIES if one is family)
    assert re.fullmatch(rf"{PREFIXES[service]}[a-z]+(_[a-z]+)*", found.name)
    assert found.name.endswith("_total") == (found.kind == "counter")
    assert set(found.label_names) <= BOUNDED
    assert found.help.endswith(".")
    if found.kind == "histogram":
        assert found.name.endswith(("_seconds", "_tokens"))
        assert list(found.bounds) == sorted(set(found.bounds))


def test_thresholds_of_alerts_are_bounds() -> None:
    bounds = {family.name: family.bounds for _, family in FAMILIES}
    assert 2.0 in bounds["llm_api_ttft_seconds"]
    assert 0.1 in bounds["llm_api_itl_seconds"]


def test_every_label_is_explained() -> None:
    text = PAGE.read_text(encoding="utf-8")
    explained = re.search(r"## Labels\n(.*?)\n## ", text, re.DOTALL)
    assert explained
    assert set(re.findall(r"`([a-z_]+)`", explained[1])) >= {name for _, one in FAMILIES for name in one.label_names}


def test_no_name_is_another_ones_series() -> None:
    names = [name for _, family in FAMILIES for name in series(family)]
    assert len(names) == len(set(names))

"""The example for OpenTelemetry's collector: its pipelines name what it defines, and it takes what llm-api sends."""

from __future__ import annotations

import yaml

from tests.monitoring.rules import MONITORING

CONTENT = yaml.safe_load((MONITORING / "otel-collector.yaml").read_text(encoding="utf-8"))


def test_pipelines_name_what_is_defined() -> None:
    used: dict[str, set[str]] = {"receivers": set(), "processors": set(), "exporters": set()}
    for pipeline in CONTENT["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            used[kind] |= set(names)
    assert used == {kind: set(CONTENT[kind]) for kind in used}


def test_memory_is_limited_first() -> None:
    for pipeline in CONTENT["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"


def test_it_takes_otlp_over_http() -> None:
    """llm-api speaks OTLP over HTTP alone."""
    assert CONTENT["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(":4318")

"""What llm-api counts: by tenant within a bound, and with traces beside its histograms."""

from __future__ import annotations

import pytest

from headrace.api.metrics import TENANTS, ApiMetrics, outcome
from headrace.api.record import Record
from headrace.telemetry.metrics import OTHER, Registry

TRACE = "0af7651916cd43dd8448eb211c80319c"


def made(**fields: object) -> Record:
    known = {"tenant": "t", "model": "m", "status": 200, "prompt_tokens": 7, "completion_tokens": 3, "total_ms": 80.0}
    return Record("1", "/v1/chat/completions", **{**known, **fields})  # type: ignore[arg-type]


def values(registry: Registry, name: str) -> dict[tuple[str, ...], float]:
    family = next(family for family in registry.snapshot() if family.name == name)
    return {child.labels: child.values[0] for child in family.children}


def test_tokens_and_outcomes_are_counted_by_tenant() -> None:
    registry = Registry()
    metrics = ApiMetrics(registry)
    metrics.finished(made(cached_tokens=4))
    metrics.finished(made(status=429, prompt_tokens=0, completion_tokens=0))
    metrics.finished(made(tenant="", status=401, prompt_tokens=0, completion_tokens=0))
    assert values(registry, "llm_api_tenant_tokens_total") == {
        ("t", "m", "prompt"): 7,
        ("t", "m", "cached"): 4,
        ("t", "m", "completion"): 3,
    }
    assert values(registry, "llm_api_tenant_requests_total") == {("t", "ok"): 1, ("t", "limited"): 1}


def test_tenants_beyond_the_bound_are_counted_together() -> None:
    registry = Registry()
    metrics = ApiMetrics(registry)
    for number in range(TENANTS + 50):
        metrics.finished(made(tenant=f"t{number}"))
    tokens = values(registry, "llm_api_tenant_tokens_total")
    assert len({tenant for tenant, _, _ in tokens}) == TENANTS + 1
    assert tokens[OTHER, "m", "prompt"] == 7 * 50
    assert values(registry, "llm_api_tenant_requests_total")[OTHER, "ok"] == 50


def test_what_never_streams_has_no_series_of_streams() -> None:
    registry = Registry()
    ApiMetrics(registry).finished(made(model="embedder"))
    assert {family.name for family in registry.snapshot() if family.kind == "histogram" and family.children} == {
        "llm_api_request_duration_seconds"
    }


@pytest.mark.parametrize(
    ("status", "word"),
    [(200, "ok"), (202, "ok"), (400, "refused"), (404, "refused"), (429, "limited"), (499, "gone"), (503, "failed")],
)
def test_outcomes(status: int, word: str) -> None:
    assert outcome(status) == word


def test_a_trace_that_is_sent_becomes_an_exemplar() -> None:
    registry = Registry()
    metrics = ApiMetrics(registry)
    metrics.finished(made(stream=True, ttft_ms=20.0), TRACE)
    metrics.finished(made(stream=True, ttft_ms=900.0))
    traced = {
        family.name: [one.trace for child in family.children for one in child.exemplars.values()]
        for family in registry.snapshot()
        if family.kind == "histogram"
    }
    names = ("llm_api_request_duration_seconds", "llm_api_ttft_seconds", "llm_api_itl_seconds")
    assert traced == {name: [TRACE] for name in names}

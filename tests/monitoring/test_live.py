"""A real Prometheus beside the real platform: every query of dashboards and rules has data, and no rule fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from scripts.dashboards.__main__ import ALL

from tests.e2e.conftest import kept
from tests.e2e.patience import wait_until
from tests.e2e.stack import CHAT_MODEL, EMBEDDING_MODEL, Stack
from tests.monitoring.exporters import node_exporter, sample
from tests.monitoring.prometheus import Prometheus, concrete
from tests.monitoring.promql import plain, selectors
from tests.monitoring.rules import ALERTS, ROOT, RULES
from tests.monitoring.traffic import Traffic

pytestmark = pytest.mark.e2e

SAMPLES = {
    "dcgm-exporter": "dcgm",
    "kube-state-metrics": "kube-state-metrics",
    "ingress-nginx": "ingress-nginx",
    "vllm-worker": "vllm",
    "trt-worker": "trtllm",
    "llamacpp": "llamacpp",
    "tei": "tei",
}
"""Exporters that cannot run here, by the job that they would be: GPUs, a cluster, engines of others."""

RARE = {
    "llm_router_not_resumable_total": "each stream here can be resumed, or is not begun when its worker dies",
    "llm_router_probes_total": "a worker that was killed is down at once; only one that hangs is probed",
    "llm_router_retries_total": "whether a request had no first byte yet when its worker died is a race",
    "llm_router_cancellations_total": "whether a client that leaves is noticed before the answer ends is a race",
    "llm_router_engine_prompt_tokens_total": "only vLLM tells the router how often its prefix cache was asked",
    "kube_node_status_condition": "the nodes of the sample are well, and the panel shows those that are not",
    "ALERTS": "whether an alert is pending or firing depends on when it is asked",
}
"""What the traffic need not bring about, and why; that the names exist is tested elsewhere."""


@pytest.fixture(scope="module")
def stack(models: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Stack]:
    programs = {name: shutil.which(name) for name in ("prometheus", "prometheus-node-exporter")}
    missing = [name for name, found in programs.items() if found is None]
    if missing:
        pytest.skip(f"needs Debian's {' and '.join(missing)}: apt-get install {' '.join(missing)}")
    with ExitStack() as held:
        exporters = {job: held.enter_context(sample(_sample(name))) for job, name in SAMPLES.items()}
        exporters["node-exporter"] = held.enter_context(node_exporter(str(programs["prometheus-node-exporter"])))
        workers = [
            {"model": CHAT_MODEL, "count": 2, "settings": {"max_running": 2}},
            {"model": EMBEDDING_MODEL},
        ]
        up = {"monitoring": True, "scrape_interval": 1, "exporters": exporters, "workers": workers}
        stack = Stack(tmp_path_factory.mktemp("live"), models, {"up": up, "router": {"cold_wait": 60}})
        held.enter_context(kept(pytestconfig, stack))
        stack.start()
        yield stack


@pytest.fixture(scope="module")
def watched(stack: Stack) -> tuple[Prometheus, Traffic]:
    """Prometheus, after all of it has happened once."""
    traffic = Traffic(stack)
    traffic.limit()
    traffic.wave()
    traffic.leave()
    traffic.kill()
    return Prometheus(stack.child("prometheus").url), traffic


def _sample(name: str) -> Path:
    return ROOT / "tests" / "samples" / f"{name}.prom"


def _metrics(expr: str) -> set[str]:
    return {name for name, _ in selectors(plain(expr))}


def _is_rare(expr: str, web: bool) -> bool:
    return any(name in RARE or (not web and name.startswith(("caddy_", "llm:web_"))) for name in _metrics(expr))


def test_every_target_is_scraped(watched: tuple[Prometheus, Traffic]) -> None:
    prometheus, _ = watched
    wait_until("all targets are up", lambda: {target["health"] for target in prometheus.targets()} == {"up"})
    jobs = {target["labels"]["job"] for target in prometheus.targets()}
    assert {"llm-api", "router", "cpu-worker", "bert-worker", "node-exporter", *SAMPLES} <= jobs


def test_no_rule_has_an_error(watched: tuple[Prometheus, Traffic]) -> None:
    prometheus, _ = watched
    wait_until("all rules are evaluated", lambda: {rule["health"] for rule in prometheus.rules()} == {"ok"})
    rules = prometheus.rules()
    assert len(rules) == len(RULES)
    assert not [(rule["name"], rule["lastError"]) for rule in rules if rule.get("lastError")]


def _all_have_data(watched: tuple[Prometheus, Traffic], exprs: set[str]) -> None:
    """Goes on with the traffic until each of them has: a rate needs two scrapes and something in between."""
    prometheus, traffic = watched
    missing = exprs

    def look() -> bool:
        nonlocal missing
        missing = {expr for expr in missing if not prometheus.has_data(expr)}
        if missing:
            traffic.wave()
        return not missing

    try:
        wait_until("all queries have data", look)
    except pytest.fail.Exception:
        pytest.fail("no data for:\n" + "\n".join(sorted(missing)))


def test_every_panel_has_data(stack: Stack, watched: tuple[Prometheus, Traffic]) -> None:
    queries = {query.expr for one in ALL for row in one.rows for panel in row.panels for query in panel.queries}
    web = bool(stack.run.web)
    _all_have_data(watched, {concrete(expr) for expr in queries if not _is_rare(expr, web)})


def test_every_recording_rule_records(stack: Stack, watched: tuple[Prometheus, Traffic]) -> None:
    web = bool(stack.run.web)
    rules = [rule for rule in RULES if not rule.alert and not _is_rare(rule.expr, web)]
    labels = [",".join(f'{k}="{v}"' for k, v in rule.body.get("labels", {}).items()) for rule in rules]
    _all_have_data(watched, {f"{rule.name}{{{of}}}" for rule, of in zip(rules, labels, strict=True)})


def test_alerts_look_at_series_that_are_there(stack: Stack, watched: tuple[Prometheus, Traffic]) -> None:
    web = bool(stack.run.web)
    names = {name for rule in ALERTS for name in _metrics(rule.expr)}
    _all_have_data(watched, {f"count({name})" for name in names if not _is_rare(name, web)})


def test_what_happened_is_told(watched: tuple[Prometheus, Traffic]) -> None:
    prometheus, _ = watched
    told = {
        "a limit": 'sum(llm_api_requests_total{status="429"})',
        "a wrong key": 'sum(llm_api_requests_total{status="401"})',
        "a wrong request": 'sum(llm_api_requests_total{status="400"})',
        "a queue": "sum(llm_router_queue_wait_seconds_count)",
        "a tenant's limit": 'sum(llm_api_tenant_requests_total{outcome="limited"})',
        "streams that lost their worker": "sum(llm_router_resumes_total) + sum(llm_router_broken_streams_total)"
        " + (sum(llm_router_retries_total) or vector(0))",
    }
    for what, expr in told.items():
        wait_until(f"Prometheus tells of {what}", partial(prometheus.has_data, f"{expr} > 0"))

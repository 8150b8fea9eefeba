"""How many series a large installation makes: 1,000 tenants, 10 models, 100 workers, everything that can go wrong."""

from __future__ import annotations

from itertools import product

from scripts.metrics import LARGE, SERIES

from headrace.api.endpoints import INFERENCE
from headrace.api.metrics import ApiMetrics
from headrace.api.record import Record
from headrace.config import RouterSettings, load
from headrace.router.app import RouterService
from headrace.telemetry.exposition import render
from headrace.telemetry.metrics import Registry
from headrace.workers.bert.metrics import BertMetrics
from headrace.workers.cpu.metrics import CpuMetrics
from headrace.workers.metrics import WorkerMetrics
from tests.monitoring.rules import ROOT

TENANTS, MODELS, WORKERS = LARGE
STATUSES = (200, 400, 401, 403, 404, 408, 409, 413, 422, 429, 499, 500, 502, 503, 504)
CODES = [f"code_{number}" for number in range(25)]
"""More than errors.py has."""
WORDS = ("stale", "refused", "ConnectionLost", "ReadTimeout", "Reset")


def series(registry: Registry) -> int:
    """Samples that Prometheus gets at a scrape."""
    text = render(registry.snapshot()).body.decode()
    return sum(not line.startswith("#") for line in text.splitlines())


def test_llm_api() -> None:
    registry = Registry()
    metrics = ApiMetrics(registry)
    models = [f"model-{number}" for number in range(MODELS)]
    for path, model, status in product((one.path for one in INFERENCE), models, STATUSES):
        metrics.finished(Record("1", path, tenant="t", model=model, status=status, stream=True, ttft_ms=1.0))
    for path, code in product((one.path for one in INFERENCE), CODES):
        metrics.finished(Record("1", path, status=400, reason=code))
    for number, model in product(range(TENANTS), models[:3]):
        metrics.finished(Record("1", INFERENCE[0].path, tenant=f"tenant-{number}", model=model, status=200))
        metrics.finished(Record("1", INFERENCE[0].path, tenant=f"tenant-{number}", model=model, status=429))
    for owner, limit in product(("key", "tenant"), range(8)):
        metrics.limited.labels(owner, f"limit-{limit}").inc()
    for alias, model, reason in product(range(10), models[:3], WORDS):
        metrics.fallbacks.labels(f"alias-{alias}", model, reason).inc()
    assert SERIES["llm-api"] / 2 < series(registry) <= SERIES["llm-api"]


async def test_router() -> None:
    workers = [f"model-{number % MODELS}=http://127.0.0.1:{10_000 + number}" for number in range(WORKERS)]
    service = RouterService(load(RouterSettings, flags={"workers": workers}, env=False))
    service.roster.publish("static", service._static)
    metrics = service._delivery._metrics
    try:
        assert sum(len(pool.workers) for pool in service.pools.values()) == WORKERS
        for pool in service.pools:
            for word in CODES:
                metrics.requests.labels(pool, word).inc()
            for word in WORDS:
                metrics.retries.labels(pool, word).inc()
                metrics.not_resumable.labels(pool, word).inc()
                metrics.cancellations.labels(pool, word).inc()
            for verdict in ("ok", "failed", "unknown"):
                metrics.probes.labels(pool, verdict).inc()
            for band in range(10):
                metrics.queue_wait.labels(pool, str(band)).observe(1)
        assert SERIES["router"] / 2 < series(service.registry) <= SERIES["router"]
    finally:
        await service.close()


def test_workers() -> None:
    total = 0
    for number in range(WORKERS):
        registry = Registry()
        WorkerMetrics(registry, "worker", f"model-{number % MODELS}")
        if number % 2:
            CpuMetrics(registry)
        else:
            bert = BertMetrics(registry)
            for endpoint, outcome in product(("embeddings", "rerank", "score"), ("ok", "cancelled", *CODES[:8])):
                bert.requests.labels(endpoint, outcome).inc()
                bert.request_seconds.labels(endpoint).observe(1)
        total += series(registry)
    assert SERIES["workers"] / 2 < total <= SERIES["workers"]


def test_the_page_states_it() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for number in SERIES.values():
        assert f"{number:,}" in text

"""The choices at the top of the dashboards, and expressions that several of them use."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.dashboards.grafana import Query, Variable

NAMESPACE = Variable("namespace", "namespace", "llm_api_in_flight", "Namespace")
MODEL = Variable("model", "pool", 'llm_router_workers{namespace=~"$namespace"}', "Model")
WORKER = Variable("worker", "pod", 'llm_worker_ready{namespace=~"$namespace"}', "Worker")
TENANT = Variable("tenant", "tenant", 'llm_api_tenant_requests_total{namespace=~"$namespace"}', "Tenant")

IN = 'namespace=~"$namespace"'
OF_MODEL = f'{IN}, model=~"$model"'
OF_POOL = f'{IN}, pool=~"$model"'
OF_WORKER = f'{IN}, pod=~"$worker"'


def rate(metric: str, selector: str, by: str = "", window: str = "$__rate_interval") -> str:
    """Per second, summed."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{selector}}}[{window}]))"


def quantile(q: float, metric: str, selector: str, by: str = "") -> str:
    """Of a classic histogram."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {rate(f'{metric}_bucket', selector, labels)})"


def percentiles(metric: str, selector: str, qs: Sequence[float] = (0.5, 0.95, 0.99)) -> list[Query]:
    return [Query(quantile(q, metric, selector), f"p{q * 100:g}") for q in qs]


def ratio(part: str, whole: str) -> str:
    """0 to 1; nothing where there is nothing to divide by."""
    return f"{part} / ({whole} > 0)"

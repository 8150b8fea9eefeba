"""Tenants and cost: who uses what, who runs into limits, and whether usage gets into the ledger."""

from __future__ import annotations

from scripts.dashboards.grafana import Dashboard, Panel, Query, Row
from scripts.dashboards.selectors import IN, MODEL, NAMESPACE, OF_MODEL, TENANT, rate

_OF_TENANT = f'{IN}, tenant=~"$tenant"'
_OF_BOTH = f'{OF_MODEL}, tenant=~"$tenant"'


def _grown(metric: str, selector: str) -> str:
    return f"sum by (tenant) (increase({metric}{{{selector}}}[$__range]))"


_USE = Row(
    "Use",
    [
        Panel(
            "In the time that is shown",
            "By tenant. Counters are estimates over a range; the ledger (headrace usage) is what a bill is made of.",
            "short",
            [
                Query(_grown("llm_api_tenant_requests_total", _OF_TENANT), "Requests"),
                Query(_grown("llm_api_tenant_tokens_total", f'{_OF_BOTH}, kind="prompt"'), "Prompt tokens"),
                Query(_grown("llm_api_tenant_tokens_total", f'{_OF_BOTH}, kind="cached"'), "of them cached"),
                Query(_grown("llm_api_tenant_tokens_total", f'{_OF_BOTH}, kind="completion"'), "Completion tokens"),
            ],
            kind="table",
            width=24,
            columns=[("tenant", "Tenant")],
        ),
        Panel(
            "Requests",
            "By tenant. Only the first 200 tenants have lines of their own; all others are `other`.",
            "reqps",
            [Query(rate("llm_api_tenant_requests_total", _OF_TENANT, "tenant"), "{{tenant}}")],
            stacked=True,
        ),
        Panel(
            "Completion tokens",
            "Generated a second, by tenant.",
            "short",
            [Query(rate("llm_api_tenant_tokens_total", f'{_OF_BOTH}, kind="completion"', "tenant"), "{{tenant}}")],
            stacked=True,
        ),
        Panel(
            "Prompt tokens",
            "A second, by tenant, cached ones included.",
            "short",
            [Query(rate("llm_api_tenant_tokens_total", f'{_OF_BOTH}, kind="prompt"', "tenant"), "{{tenant}}")],
            stacked=True,
        ),
        Panel(
            "How requests end",
            "failed: ours. limited: the tenant's limits. refused: the request was wrong. gone: the client left.",
            "reqps",
            [Query(rate("llm_api_tenant_requests_total", _OF_TENANT, "outcome"), "{{outcome}}")],
            stacked=True,
        ),
        Panel(
            "Cost of an hour",
            "At the pace of the last hour, in the currency of llm:token_price (the chart's monitoring.prices).",
            "short",
            [Query(f"sum by (tenant) (llm:tenant_cost_per_hour{{{_OF_TENANT}}})", "{{tenant}}")],
            stacked=True,
        ),
        Panel(
            "Refused by limits",
            "By whose limit it was (a key, a tenant) and which.",
            "reqps",
            [Query(rate("llm_api_limited_total", IN, "owner, limit"), "{{owner}} {{limit}}")],
        ),
        Panel(
            "Tokens by model",
            "Of the chosen tenants, a second.",
            "short",
            [Query(rate("llm_api_tenant_tokens_total", _OF_BOTH, "model, kind"), "{{model}} {{kind}}")],
        ),
    ],
)

_LEDGER = Row(
    "Ledger",
    [
        Panel(
            "Usage written down",
            "Requests a second whose usage reached the spool; and those lost or refused, which must be none.",
            "reqps",
            [
                Query(rate("llm_api_ledger_records_total", IN), "written"),
                Query(rate("llm_api_ledger_dropped_total", IN), "lost"),
                Query(rate("llm_api_ledger_refused_total", IN), "refused"),
            ],
        ),
        Panel(
            "Usage that waits",
            "Bytes in the spool. It grows while the database is away.",
            "bytes",
            [Query(f"sum by (pod) (llm_api_ledger_spool_bytes{{{IN}}})", "{{pod}}")],
        ),
        Panel(
            "Lag",
            "How long the oldest usage has been waiting for the database. Budgets are behind by as much.",
            "s",
            [Query(f"max by (pod) (llm_api_ledger_lag_seconds{{{IN}}})", "{{pod}}")],
        ),
    ],
)

TENANTS = Dashboard(
    "headrace-tenants",
    "Tenants and cost",
    "Who uses what, who runs into limits, and whether usage gets into the ledger.",
    [_USE, _LEDGER],
    [NAMESPACE, MODEL, TENANT],
)

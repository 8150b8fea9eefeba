"""SLO: what was promised, what is left of the error budget, and how fast it burns."""

from __future__ import annotations

from scripts.dashboards.grafana import Dashboard, Panel, Query, Row, stat
from scripts.dashboards.selectors import IN, MODEL, NAMESPACE, OF_MODEL, ratio

_FAILED = 0.001
"""Of the requests may fail: 99.9 % are promised."""
_SLOW = 0.05
"""Of the streams may begin later than after 2 s."""
_WINDOWS = ("5m", "30m", "1h", "6h")
_OF_REQUESTS = f'{IN}, path=~"/v1/.+"'
_OF_USERS = f'{OF_MODEL}, source="llm-api"'


def _left(bad: str, share: float) -> str:
    """The part of the error budget of the range that is shown which is still there."""
    return f"1 - ({bad}) / {share}"


_FAILED_IN_RANGE = ratio(
    f'(sum(increase(llm_api_requests_total{{{_OF_REQUESTS}, status=~"5.."}}[$__range])) or vector(0))',
    f"sum(increase(llm_api_requests_total{{{_OF_REQUESTS}}}[$__range]))",
)
_SLOW_IN_RANGE = "1 - " + ratio(
    f'sum(increase(llm_api_ttft_seconds_bucket{{{IN}, le="2.0"}}[$__range]))',
    f"sum(increase(llm_api_ttft_seconds_count{{{IN}}}[$__range]))",
)
_LEFT = [(0, "yellow"), (0.5, "green")]


def _burn(record: str, share: float) -> list[Query]:
    """How many times faster than the budget allows; 1 uses it up exactly in its time."""
    return [Query(f"max({record}{window}{{{IN}}}) / {share}", window) for window in _WINDOWS]


def _objective(title: str, in_range: str, record: str, share: float, where: Panel) -> Row:
    """What is left of a promise, how fast it is used up, and by which model."""
    left = stat(
        "Budget left",
        "Of the range that is shown (choose 30 days). Below 0 the promise is broken: stop changing things.",
        "percentunit",
        Query(_left(in_range, share), ""),
        _LEFT,
        base="red",
    )
    burn = Panel(
        "Burn rate",
        "Times the rate that uses the budget up exactly. Two windows above 14.4 page, two above 6 warn.",
        "short",
        _burn(record, share),
        width=12,
        steps=[(6, "yellow"), (14.4, "red")],
    )
    return Row(title, [left, burn, where])


_AVAILABILITY = _objective(
    "Availability: 99.9 % of the requests do not end in a 5xx",
    _FAILED_IN_RANGE,
    "llm:slo_errors:ratio_rate",
    _FAILED,
    Panel(
        "Failed, by model",
        "Part of the requests of the last five minutes: which model burns the budget.",
        "percentunit",
        [Query(f"max by (model) (llm:error_ratio:rate5m{{{_OF_USERS}}})", "{{model}}")],
        width=9,
    ),
)

_SPEED = _objective(
    "Speed: 95 % of the streams begin within 2 s",
    _SLOW_IN_RANGE,
    "llm:slo_slow:ratio_rate",
    _SLOW,
    Panel(
        "Time to first token p95, by model",
        "As clients see it: which model is late.",
        "s",
        [Query(f"max by (model) (llm:ttft_seconds:p95_5m{{{_OF_USERS}}})", "{{model}}")],
        width=9,
        steps=[(2, "red")],
    ),
)

_ALERTS = Row(
    "Alerts",
    [
        Panel(
            "Firing and pending",
            "Headrace's alerts now. Each has a runbook page of its name.",
            "short",
            [
                Query(
                    'count by (alertname, alertstate, severity) (ALERTS{alertname=~"(Llm|Gpu).*"})',
                    "How many",
                )
            ],
            kind="table",
            width=24,
            columns=[("alertname", "Alert"), ("alertstate", "State"), ("severity", "Severity")],
        ),
    ],
)

SLO = Dashboard(
    "headrace-slo",
    "SLO",
    "What was promised, what is left of the error budget, and how fast it burns.",
    [_AVAILABILITY, _SPEED, _ALERTS],
    [NAMESPACE, MODEL],
)

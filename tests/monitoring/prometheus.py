"""Asking a running Prometheus, as Grafana does."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from urllib.parse import urlencode

from tests.e2e.calls import Call


def concrete(expr: str, window: str = "5m") -> str:
    """With everything chosen at the top of the dashboard, and ``window`` as the range."""
    return re.sub(r"\$\w+", ".*", re.sub(r"\$__(rate_interval|range)", window, expr))


class Prometheus:
    """Its API. ``url``: where it listens."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, expr: str) -> list[Any]:
        """The series of an instant query."""
        found: list[Any] = self._get("query", query=expr)["result"]
        return found

    def has_data(self, expr: str) -> bool:
        """Whether there is a number."""
        return any(not math.isnan(float(series["value"][1])) for series in self.ask(expr))

    def course(self, expr: str, start: float, end: float, step: float) -> list[Any]:
        """The series of a range query; times in seconds since 1970."""
        found: list[Any] = self._get("query_range", query=expr, start=start, end=end, step=step)["result"]
        return found

    def rules(self) -> list[Any]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> list[Any]:
        found: list[Any] = self._get("targets")["activeTargets"]
        return found

    def _get(self, what: str, **parameters: object) -> Any:
        with Call(self._url, "GET", f"/api/v1/{what}?{urlencode(parameters)}") as call:
            answer = json.loads(call.body())
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

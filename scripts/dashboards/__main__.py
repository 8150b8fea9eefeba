"""``python -m scripts.dashboards``"""

from __future__ import annotations

import json
from pathlib import Path

from scripts.dashboards.engines import ENGINES
from scripts.dashboards.grafana import Dashboard
from scripts.dashboards.overview import OVERVIEW
from scripts.dashboards.router import ROUTER
from scripts.dashboards.slo import SLO
from scripts.dashboards.tenants import TENANTS

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring" / "dashboards"
ALL = (OVERVIEW, ROUTER, ENGINES, TENANTS, SLO)


def render(dashboard: Dashboard) -> str:
    return json.dumps(dashboard.json(), indent=1, ensure_ascii=False) + "\n"


def path(dashboard: Dashboard) -> Path:
    return FOLDER / f"{dashboard.uid.removeprefix('headrace-')}.json"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for one in ALL:
        path(one).write_text(render(one), encoding="utf-8")

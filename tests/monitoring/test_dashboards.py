"""The dashboards: that their files are current, and what every panel has."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from scripts.dashboards.__main__ import ALL, FOLDER, path, render
from scripts.dashboards.grafana import Dashboard

from tests.deploy.charts import render as render_chart
from tests.monitoring.promql import plain, selectors
from tests.monitoring.rules import ROOT

Json = dict[str, Any]

BUILT_IN = {"__rate_interval", "__range", "__all"}
UNITS = {"short", "s", "percentunit", "reqps", "ops", "rowsps", "bytes", "celsius", "watt"}
"""Of @grafana/data, as far as they are used."""


@pytest.fixture(params=ALL, ids=lambda one: one.uid)
def dashboard(request: pytest.FixtureRequest) -> Json:
    one: Dashboard = request.param
    content: Json = one.json()
    return content


def panels(dashboard: Json) -> list[Json]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.uid)
def test_files_are_current(one: Dashboard) -> None:
    assert path(one).read_text(encoding="utf-8") == render(one), "run: python -m scripts.dashboards"


def test_no_other_file_lies_there() -> None:
    assert sorted(FOLDER.iterdir()) == sorted(map(path, ALL))
    assert len({one.uid for one in ALL}) == len(ALL)


def test_every_panel_says_what_it_shows(dashboard: Json) -> None:
    for panel in panels(dashboard):
        assert len(panel["description"]) > 15, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["legendFormat"] or panel["type"] == "stat", panel["title"]


def test_legends_name_labels_that_the_query_keeps(dashboard: Json) -> None:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                kept = re.search(rf"by \([^)]*\b{label}\b[^)]*\)", target["expr"])
                assert kept or "llm:" in target["expr"], (panel["title"], label)


def test_queries_go_to_the_source_that_is_chosen(dashboard: Json) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    variables = [one for one in dashboard["templating"]["list"] if one["type"] == "query"]
    targets = [target for panel in panels(dashboard) for target in panel["targets"]]
    assert all(one["datasource"] == chosen for one in [*panels(dashboard), *targets, *variables])


def test_queries_are_promql(dashboard: Json) -> None:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            assert list(selectors(plain(target["expr"]))), panel["title"]


def test_variables_are_used_and_defined(dashboard: Json) -> None:
    text = json.dumps(dashboard)
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", text))
    assert used <= defined | BUILT_IN
    assert defined <= used
    assert {"datasource", "namespace", "model"} <= defined


def test_panels_do_not_overlap(dashboard: Json) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_overview_has_what_the_architecture_asks_for() -> None:
    text = path(ALL[0]).read_text(encoding="utf-8")
    for name in (
        "llm_api_request_duration_seconds_bucket",
        "llm_api_requests_total",
        "llm:tokens:rate5m",
        "DCGM_FI_DEV_GPU_UTIL",
        "DCGM_FI_DEV_FB_USED",
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
        "llm_router_queue_depth",
        "node_cpu_seconds_total",
        "kube_node_status_condition",
        "kube_pod_status_ready",
    ):
        assert name in text, name
    legends = [target["legendFormat"] for panel in panels(json.loads(text)) for target in panel["targets"]]
    assert {"p50", "p95", "p99"} <= set(legends)


def test_chart_provisions_them_by_their_label() -> None:
    objects = render_chart({"monitoring": {"dashboards": {"enabled": True, "folder": "Serving"}}})
    maps = [
        item for item in objects if item["kind"] == "ConfigMap" and item["metadata"]["name"].startswith("dashboard-")
    ]
    assert len(maps) == len(ALL)
    found: dict[str, str] = {}
    for item in maps:
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert item["metadata"]["annotations"] == {"grafana_folder": "Serving"}
        found |= item["data"]
        assert len(json.dumps(item)) < 256 * 1024, "kubectl apply could not note what it last applied"
    assert found == {path(one).name: render(one) for one in ALL}


def test_chart_leaves_them_out_by_default() -> None:
    assert not [item for item in render_chart({}) if item["metadata"]["name"].startswith("dashboard-")]


def test_compose_provisions_them() -> None:
    mounts = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]["grafana"]["volumes"]
    places = dict(mount.split(":")[:2] for mount in mounts if mount.startswith("./"))
    provider = yaml.safe_load((ROOT / "deploy" / "compose" / "grafana-dashboards.yml").read_text())["providers"][0]
    folder = next(source for source, place in places.items() if place == provider["options"]["path"])
    assert (ROOT / "deploy" / folder).resolve() == FOLDER
    assert places["./compose/grafana-dashboards.yml"].startswith("/etc/grafana/provisioning/dashboards/")

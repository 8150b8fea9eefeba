"""The configurations of a plain Prometheus: it takes them, with the rules beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.monitoring.rules import ALERTS, MONITORING, ROOT, promtool

CONFIGURATIONS = sorted(MONITORING.glob("prometheus*.yml"))
COUNTERS = ROOT / "deploy" / "platform" / "nvidia" / "dcgm-counters.yaml"


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_prometheus_takes_it(path: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    for job in content["scrape_configs"]:  # Debian's Prometheus is built without Kubernetes: all the rest is checked
        if discovery := job.pop("kubernetes_sd_configs", None):
            assert [one["role"] for one in discovery] == ["pod"]
            job["static_configs"] = [{"targets": ["pod:1"]}]
    (tmp_path / path.name).write_text(yaml.safe_dump(content))
    shutil.copytree(MONITORING / "rules", tmp_path / "rules")
    for folder in ("targets", "exporters"):
        (tmp_path / folder).mkdir()
        shutil.copy(ROOT / "deploy" / "compose" / f"{folder}.yml", tmp_path / folder)
    said = promtool("check", "config", path.name, cwd=tmp_path)
    assert "2 rule files found" in said


def test_jobs_are_called_as_alerts_ask_for_them() -> None:
    jobs = {entry["labels"]["job"] for entry in yaml.safe_load((ROOT / "deploy/compose/targets.yml").read_text())}
    assert {"llm-api", "router"} <= jobs
    asked = " ".join(rule.expr for rule in ALERTS if rule.name in ("LlmTargetDown", "LlmNotScraped"))
    for job in jobs - {name for name in jobs if name.endswith("-worker")}:
        assert job in asked
    relabelled = yaml.safe_load((MONITORING / "prometheus-kubernetes.yml").read_text())["scrape_configs"][0]
    assert {"job", "namespace", "pod"} <= {rule.get("target_label") for rule in relabelled["relabel_configs"]}


def test_counters_switch_on_ecc_and_xid() -> None:
    lines = yaml.safe_load(COUNTERS.read_text())["data"]["dcgm-metrics.csv"].splitlines()
    rows = [line.split(", ", 2) for line in lines if line and not line.startswith("#")]
    assert all(len(row) == 3 and row[1] in ("gauge", "counter") for row in rows)
    names = [row[0] for row in rows]
    assert len(names) == len(set(names))
    assert {"DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", "DCGM_EXP_XID_ERRORS_COUNT"} <= set(names)


def test_the_gpu_operator_is_told_of_them() -> None:
    values = yaml.safe_load((COUNTERS.parent / "values.yaml").read_text())["dcgmExporter"]
    config = yaml.safe_load(COUNTERS.read_text())
    assert values["config"]["name"] == config["metadata"]["name"]
    (variable,) = values["env"]
    assert Path(variable["value"]).name in config["data"]

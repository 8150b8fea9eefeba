"""Each metric and label that a rule, a dashboard or the documentation names exists in the code or in a sample."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.charts import Object, render
from tests.monitoring.known import SAMPLES, TARGET, known, of_code
from tests.monitoring.promql import plain, selectors
from tests.monitoring.rules import MONITORING, ROOT, RULES, Rule

KNOWN = known()
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
PAGES = [path for path in sorted(ROOT.rglob("docs/**/*.md")) if ".venv" not in path.parts]
OURS = re.compile(r"\b((?:llm_api|llm_router|llm_worker|cpu_worker|bert_worker)_[a-z_]*[a-z])(?![\w*])")
OTHERS = re.compile(
    r"\b(llm:[a-z_]+(?::[a-z0-9_]+)?|DCGM_[A-Z_]+[A-Z]|vllm:[a-z_]+|trtllm_[a-z_]+|kube_[a-z_]+"
    r"|nginx_ingress_controller_[a-z_]+|node_[a-z]+_\w+|caddy_[a-z_]+|llamacpp:\w+|te_[a-z]+_[a-z]+)\b(?!\*)"
)


def check(expr: str) -> None:
    for name, labels in selectors(expr):
        assert name in KNOWN, f"{name} is nowhere: {expr}"
        assert labels <= KNOWN[name] | TARGET, f"{name} has no {labels - KNOWN[name] - TARGET}: {expr}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rules_ask_for_what_there_is(rule: Rule) -> None:
    check(rule.expr)


def queries(item: Any) -> Iterator[str]:
    """Every query of a dashboard, wherever it stands: of panels, of variables."""
    if isinstance(item, dict):
        for key, value in item.items():
            if key in ("expr", "definition") or (key == "query" and isinstance(value, str)):
                yield value
            yield from queries(value)
    elif isinstance(item, list):
        for value in item:
            yield from queries(value)


def test_dashboards_ask_for_what_there_is() -> None:
    for query in (query for path in DASHBOARDS for query in queries(json.loads(path.read_text(encoding="utf-8")))):
        values = re.fullmatch(r"label_values\((.*),\s*\w+\)", query)
        expr = values[1] if values else query
        if expr and not re.fullmatch(r"prometheus|loki|tempo|label_values\(\w+\)", expr):
            check(plain(expr))


def test_autoscalers_ask_for_what_there_is() -> None:
    """KEDA's query, and the external metric of the HPA with the label that it is chosen by."""
    scaled: dict[str, Object] = {"m": {"kind": "cpu", "model": "m", "resources": {"limits": {"memory": "1Gi"}}}}
    bounds = {"min": 1, "max": 2, "target": 4}
    scaled["m"]["autoscaling"] = {"mode": "keda", "prometheus": "http://prometheus:9090", **bounds}
    (keda,) = [item for item in render({"workers": scaled}) if item["kind"] == "ScaledObject"]
    check(keda["spec"]["triggers"][0]["metadata"]["query"])
    scaled["m"]["autoscaling"] = {"mode": "queue", **bounds}
    (hpa,) = [item for item in render({"workers": scaled}) if item["kind"] == "HorizontalPodAutoscaler"]
    metric = hpa["spec"]["metrics"][0]["external"]["metric"]
    assert set(metric["selector"]["matchLabels"]) <= KNOWN[metric["name"]]
    values = yaml.safe_load((ROOT / "deploy" / "platform" / "prometheus-adapter" / "values.yaml").read_text())
    (rule,) = values["rules"]["external"]
    assert rule["seriesQuery"].startswith(metric["name"])
    check(rule["seriesQuery"])
    query = rule["metricsQuery"].replace("<<.Series>>", metric["name"])
    check(query.replace("<<.LabelMatchers>>", 'namespace="llm", pool="m"'))


def test_documentation_names_what_there_is() -> None:
    names = KNOWN.keys() | {name.rsplit("_", 1)[0] for name in of_code() if name.endswith("_bucket")}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in KNOWN}
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in PAGES
        for pattern in (OURS, OTHERS)
        for name in pattern.findall(path.read_text(encoding="utf-8"))
        if name not in names and name not in families
    ]
    assert not wrong


def test_mistakes_would_be_found() -> None:
    with pytest.raises(AssertionError, match="nowhere"):
        check("sum(rate(llm_api_request_total[5m]))")
    with pytest.raises(AssertionError, match="has no"):
        check('llm_router_queue_depth{queue="m"}')
    with pytest.raises(ValueError, match="parenthesis"):
        check("sum by (")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_name_the_source_of_each_family(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# A sample of ")
    assert "never recorded" in text.split("\n# Source", maxsplit=1)[0]
    blocks = text.split("\n\n")[1:]
    assert blocks
    for block in blocks:
        source, described, typed, *samples = block.strip().splitlines()
        assert re.fullmatch(r"# Source: \S.*\S", source)
        name = described.split()[2]
        assert typed.split()[2] == name
        assert samples
        assert all(line.startswith(name) for line in samples)

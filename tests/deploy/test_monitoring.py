"""What the chart gives the Prometheus Operator."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.deploy.charts import NAMES, ROOT, Object, Pod, is_service, pods, render, values
from tests.deploy.helm import RenderError

RULES = sorted((ROOT / "deploy" / "monitoring" / "rules").glob("*.yaml"))
REPOSITORY = "https://git.example.com/team/headrace/blob/main"
Target = tuple[str, str, int]
"""Job, pod and port."""


def monitored(example: str, **more: Any) -> list[Object]:
    return render({**values(example), "monitoring": {"enabled": True, **more}})


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [item for item in objects if item["kind"] == kind]


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert all(one["operator"] == "Exists" for one in selector.get("matchExpressions", []))
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        one["key"] in labels for one in selector.get("matchExpressions", [])
    )


def port(pod: Pod, name: str) -> int:
    (found,) = [one["containerPort"] for one in pod.main["ports"] if one["name"] == name]
    assert isinstance(found, int)
    return found


def targets(objects: list[Object]) -> list[Target]:
    """What the operator makes of the monitors: a target for each endpoint of each chosen service, and of each pod."""
    templates = list(pods(objects))
    found = []
    for monitor in of_kind(objects, "ServiceMonitor"):
        spec = monitor["spec"]
        for service in of_kind(objects, "Service"):
            labels = service["metadata"]["labels"]
            if not selects(spec["selector"], labels):
                continue
            for pod in templates:
                if service["spec"]["selector"].items() <= pod.labels.items():
                    names = {one["name"]: one["targetPort"] for one in service["spec"]["ports"]}
                    found += [
                        (labels[spec["jobLabel"]], pod.owner, port(pod, names[one["port"]]))
                        for one in spec["endpoints"]
                    ]
    for monitor in of_kind(objects, "PodMonitor"):
        spec = monitor["spec"]
        for pod in templates:
            if selects(spec["selector"], pod.labels):
                found += [
                    (pod.labels[spec["jobLabel"]], pod.owner, port(pod, one["port"]))
                    for one in spec["podMetricsEndpoints"]
                ]
    return found


@pytest.mark.parametrize("example", NAMES)
def test_each_pod_is_scraped_once(example: str) -> None:
    objects = monitored(example)
    expected = [(pod.component, pod.owner, port(pod, "ops")) for pod in pods(objects) if is_service(pod)]
    assert sorted(targets(objects)) == sorted(expected)


def test_a_service_and_its_headless_twin_would_be_twice() -> None:
    """The test above sees it: without the name in the selector the router has two targets."""
    objects = monitored("default")
    for monitor in of_kind(objects, "ServiceMonitor"):
        del monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
    assert len([target for target in targets(objects) if target[0] == "router"]) == 2


def test_monitors_have_the_labels_that_prometheus_chooses_by() -> None:
    kinds = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
    default = [item for item in monitored("several-nodes") if item["kind"] in kinds]
    assert len(default) >= 6
    assert all(item["metadata"]["labels"]["release"] == "kube-prometheus-stack" for item in default)
    own = [item for item in monitored("default", labels={"team": "a"}) if item["kind"] in kinds]
    assert all(item["metadata"]["labels"]["team"] == "a" for item in own)


def test_rules_are_those_of_the_files() -> None:
    rendered = {item["metadata"]["name"]: item["spec"] for item in of_kind(monitored("default"), "PrometheusRule")}
    assert rendered == {f"llm-{path.stem}": yaml.safe_load(path.read_text()) for path in RULES}


def test_runbooks_are_where_the_operator_has_them() -> None:
    objects = of_kind(monitored("default", repository="https://wiki.example.net/headrace/"), "PrometheusRule")
    text = yaml.safe_dump(objects)
    assert "https://wiki.example.net/headrace/docs/runbooks/alerts/LlmStoreDown.md" in text
    assert REPOSITORY not in text


def test_prices_of_models() -> None:
    price = {"prompt": 0.1, "cached": -0.05, "completion": 0.4}
    (rule,) = [
        item
        for item in of_kind(monitored("default", prices={"m": price}), "PrometheusRule")
        if item["metadata"]["name"] == "llm-prices"
    ]
    rules = rule["spec"]["groups"][0]["rules"]
    assert {one["labels"]["kind"]: one["expr"] for one in rules} == {k: f"vector({v})" for k, v in price.items()}
    assert all(one["labels"]["model"] == "m" and one["record"] == "llm:token_price" for one in rules)
    with pytest.raises(RenderError, match="completion"):
        monitored("default", prices={"m": {"prompt": 1}})


def test_nothing_of_it_where_it_is_off_and_no_rules_where_another_release_has_them() -> None:
    groups = {item["apiVersion"].split("/")[0] for item in render({})}
    assert "monitoring.coreos.com" not in groups
    assert not of_kind(monitored("default", rules=False), "PrometheusRule")


def test_prometheus_may_reach_what_it_scrapes() -> None:
    """The policies let it in at the ops port of each component; here the two lists meet."""
    objects = monitored("several-nodes")
    policies = {item["metadata"]["name"]: item["spec"] for item in of_kind(objects, "NetworkPolicy")}
    open_ports = {
        (name, rule["port"])
        for name, spec in policies.items()
        for edge in spec.get("ingress", [])
        if any("namespaceSelector" in peer and "monitoring" in str(peer) for peer in edge["from"])
        for rule in edge["ports"]
    }
    for job, _, number in targets(objects):
        assert ("workers" if job.endswith("-worker") else job, number) in open_ports

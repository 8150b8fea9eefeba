"""deploy/platform: objects are valid, and what must agree with the chart does."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.deploy.charts import CHART, ROOT
from tests.deploy.resources import plain_files, validate

PLATFORM = ROOT / "deploy" / "platform"


def load(path: str) -> Any:
    return yaml.safe_load((PLATFORM / path).read_text())


@pytest.mark.parametrize(
    ("source", "item"), list(plain_files()), ids=lambda part: part if isinstance(part, str) else ""
)
def test_objects_are_valid(source: str, item: dict[str, Any]) -> None:
    validate(item)


def test_policies_expect_the_ingress_where_it_is() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    spaces = {item["metadata"]["name"] for _, item in plain_files() if item["kind"] == "Namespace"}
    policy = values["networkPolicy"]
    assert {policy["ingress"]["namespace"], policy["monitoring"]["namespace"]} <= spaces
    spread = load("ingress-nginx/values.yaml")["controller"]["topologySpreadConstraints"][0]
    assert spread["labelSelector"]["matchLabels"] == policy["ingress"]["podLabels"]
    assert (
        load("ingress-nginx/values.yaml")["controller"]["ingressClassResource"]["name"]
        == values["ingress"]["className"]
    )


def test_namespace_of_the_models_is_restricted() -> None:
    labels = {item["metadata"]["name"]: item["metadata"].get("labels", {}) for _, item in plain_files()}
    assert labels["llm"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_entry_is_highly_available_and_keeps_clients_addresses() -> None:
    controller = load("ingress-nginx/values.yaml")["controller"]
    assert controller["replicaCount"] == 3
    assert controller["minAvailable"] == 2
    assert controller["service"]["externalTrafficPolicy"] == "Local"
    assert controller["allowSnippetAnnotations"] is False


def test_entry_outlives_a_reload() -> None:
    controller = load("ingress-nginx/values.yaml")["controller"]
    shutdown = int(controller["config"]["worker-shutdown-timeout"].removesuffix("s"))
    assert controller["terminationGracePeriodSeconds"] > shutdown


def test_priority_classes_that_are_named_exist() -> None:
    classes = {item["metadata"]["name"] for _, item in plain_files() if item["kind"] == "PriorityClass"}
    named = {load("ingress-nginx/values.yaml")["controller"]["priorityClassName"]}
    for path in (CHART / "examples").glob("*.yaml"):
        named.add(yaml.safe_load(path.read_text()).get("pod", {}).get("priorityClassName"))
    assert named - {None} <= classes


def test_address_is_in_the_pool() -> None:
    controller = load("ingress-nginx/values.yaml")["controller"]
    address = controller["service"]["annotations"]["metallb.io/loadBalancerIPs"]
    (pool,) = [item for _, item in plain_files() if item["kind"] == "IPAddressPool"]
    first, last = pool["spec"]["addresses"][0].split("-")
    assert tuple(map(int, first.split("."))) <= tuple(map(int, address.split("."))) <= tuple(map(int, last.split(".")))
    assert controller["service"]["type"] == "LoadBalancer"

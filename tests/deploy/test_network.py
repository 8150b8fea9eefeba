"""Who reaches whom: computed from the rendered policies, and compared with the table of docs/network.md."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from headrace import config
from tests.deploy.charts import NAMES, NAMESPACE, ROOT, Object, is_worker, pods, render, values
from tests.deploy.policies import Endpoint, allowed

PORTS: tuple[int, ...] = (53, 443, 4318, 5432, 6379, 6443, 22, 80, 8080, 8000, 8001, 8010, 8020, 8030, 8040)
PORTS += (9180, 9100, 9101, 9110, 9120, 9130, 9140)
OUTSIDE = {
    "postgres": "10.9.0.1",
    "redis": "10.9.0.2",
    "api-server": "10.9.0.3",
    "identity-provider": "10.9.0.4",
    "otlp": "10.9.0.5",
    "model-hub": "10.9.0.6",
}
OPEN = {
    "networkPolicy": {
        "postgres": {"cidrs": ["10.9.0.1/32"], "port": 5432},
        "redis": {"cidrs": ["10.9.0.2/32"], "port": 6379},
        "apiServer": {"cidrs": ["10.9.0.3/32"], "port": 6443},
        "identityProvider": {"cidrs": ["10.9.0.4/32"], "port": 443},
        "otlp": {"cidrs": ["10.9.0.5/32"], "port": 4318},
        "modelHub": {"cidrs": ["10.9.0.6/32"], "port": 443},
    },
    "router": {"discovery": "endpointslices"},
    "modelStore": {"placement": {"enabled": True, "models": ["demo"]}},
    "workers": {kind: {"kind": kind, "model": "m"} for kind in ("bert", "cpu", "vllm", "trt")},
}
Edge = tuple[str, str, int]


@dataclass(frozen=True)
class Row:
    """A line of the table, one port each."""

    edge: Edge
    optional: bool


def table() -> list[Row]:
    lines = re.findall(
        r"^\| ([a-z-]+) \| ([a-z-]+) \| ([0-9, ]+) \| .*? \|(.*)\|$",
        (ROOT / "docs/network.md").read_text(),
        re.MULTILINE,
    )
    return [
        Row((source, target, int(port)), bool(by.strip()))
        for source, target, ports, by in lines
        for port in ports.split(",")
    ]


def endpoints(objects: list[Object]) -> list[Endpoint]:
    """Our pods, one for each component; those who may come from outside; and strangers."""
    policy = values_of(objects)
    mine = {}
    for pod in pods(objects):
        name = "worker" if is_worker(pod) else pod.component
        mine[pod.component] = Endpoint(name, NAMESPACE, pod.labels)
    return [
        *mine.values(),
        Endpoint("ingress", policy["ingress"][0], policy["ingress"][1]),
        Endpoint("monitoring", policy["monitoring"][0], policy["monitoring"][1]),
        Endpoint("dns", "kube-system", {"k8s-app": "kube-dns"}),
        *(Endpoint(name, address=address) for name, address in OUTSIDE.items()),
        Endpoint("stranger", NAMESPACE, {"app": "stranger"}),
        Endpoint("stranger", "elsewhere", {"app.kubernetes.io/component": "llm-api"}),
        Endpoint("stranger", "ingress-nginx", {"app": "stranger"}),
        Endpoint("stranger", "elsewhere", policy["ingress"][1]),
        Endpoint("stranger", "monitoring", {"app": "stranger"}),
        Endpoint("stranger", address="203.0.113.9"),
    ]


def values_of(objects: list[Object]) -> dict[str, tuple[str, dict[str, str]]]:
    """Namespace and labels of the ingress and of Prometheus, as the policy of llm-api has them."""
    policy = next(item for item in objects if item["kind"] == "NetworkPolicy" and item["metadata"]["name"] == "llm-api")
    found = {}
    for name, rule in zip(("ingress", "monitoring"), policy["spec"]["ingress"], strict=True):
        (peer,) = rule["from"]
        namespace = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        found[name] = (namespace, peer["podSelector"]["matchLabels"])
    return found


def reachable(objects: list[Object]) -> set[Edge]:
    """Every edge that begins or ends at a pod of ours."""
    policies = [item for item in objects if item["kind"] == "NetworkPolicy"]
    known = endpoints(objects)
    found = set()
    for source in known:
        for target in known:
            if source is target or NAMESPACE not in (source.namespace, target.namespace):
                continue
            for port in PORTS:
                protocol = "UDP" if port == 53 else "TCP"
                if allowed(policies, source, target, port, protocol):
                    found.add((source.name, target.name, port))
    return {edge for edge in found if edge[:2] != ("stranger", "stranger")}


def expected(objects: list[Object], rows: list[Row]) -> set[Edge]:
    """The table's edges between those who are there; ``any`` is every pod of ours."""
    names = {endpoint.name for endpoint in endpoints(objects)}
    mine = {endpoint.name for endpoint in endpoints(objects) if endpoint.namespace == NAMESPACE}
    edges = set()
    for row in rows:
        source, target, port = row.edge
        for name in mine if source == "any" else {source}:
            if {name, target} <= names:
                edges.add((name, target, port))
    return edges


def test_everything_that_can_be_opened_is_in_the_table_and_nothing_else() -> None:
    objects = render(OPEN)
    assert reachable(objects) == expected(objects, table())


def test_what_is_not_asked_for_stays_closed() -> None:
    objects = render({"workers": OPEN["workers"]})
    assert reachable(objects) == expected(objects, [row for row in table() if not row.optional])


def test_trial_stores_are_reached_by_llm_api_alone() -> None:
    objects = render({"trialStores": {"enabled": True}})
    stores = {edge for edge in reachable(objects) if edge[1] in ("postgres", "redis")}
    assert stores == {("llm-api", "postgres", 5432), ("llm-api", "redis", 6379)}


@pytest.mark.parametrize("example", NAMES)
def test_strangers_reach_nothing(example: str) -> None:
    assert not [edge for edge in reachable(render(values(example))) if edge[0] == "stranger" and edge[1] != "dns"]


def test_a_removed_rule_is_noticed() -> None:
    objects = render(OPEN)
    policy = next(item for item in objects if item["kind"] == "NetworkPolicy" and item["metadata"]["name"] == "router")
    del policy["spec"]["ingress"][0]
    assert ("llm-api", "router", 8001) not in reachable(objects)


def test_without_policies_everything_is_open() -> None:
    objects = render({"networkPolicy": {"enabled": False}})
    assert not [item for item in objects if item["kind"] == "NetworkPolicy"]


EDGES_OF_SETTINGS = {
    "api.router": ("llm-api", "router", 8001),
    "api.database": ("llm-api", "postgres", 5432),
    "api.redis": ("llm-api", "redis", 6379),
    "api.oidc_issuer": ("llm-api", "identity-provider", 443),
    "api.oidc_jwks": ("llm-api", "identity-provider", 443),
    "api.otlp": ("llm-api", "otlp", 4318),
    "router.workers": ("router", "worker", 8010),
}
"""Every setting that names somebody to talk to, and the edge that it uses."""
_ADDRESS = re.compile(r"\b(url|addresses|address of|provider whose|endpoint of|workers as)\b", re.IGNORECASE)
_NOT_TALKED_TO = ("host", "ops_host", "trusted_proxies")


def test_every_address_in_the_settings_has_an_edge() -> None:
    """The code connects to what a setting names and to nothing else: a new one needs a line in the table."""
    named = {
        f"{section.section}.{name}"
        for section in config.SECTIONS
        if section.section != "up"
        for name, field in section.model_fields.items()
        if _ADDRESS.search(f"{field.description}") and name not in _NOT_TALKED_TO
    }
    assert named == set(EDGES_OF_SETTINGS)
    edges = {row.edge for row in table()}
    assert set(EDGES_OF_SETTINGS.values()) <= edges


def test_rendered_addresses_use_ports_of_the_table() -> None:
    text = str([item for item in render(values("several-nodes")) if item["kind"] == "ConfigMap"])
    ports = {int(port) for port in re.findall(r"svc:(\d+)", text)}
    assert ports == {8001}

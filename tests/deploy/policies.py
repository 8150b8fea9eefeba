"""What NetworkPolicies allow, computed as their specification says (networking.k8s.io/v1).

A connection passes if no policy that selects its source restricts egress, or one of them allows it; and the same for
its destination and ingress. Selectors of namespace and pod in one item of a list must both fit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Policy = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """A pod, or with ``address`` something outside the cluster."""

    name: str
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict, hash=False)
    address: str = ""


def allowed(policies: Iterable[Policy], source: Endpoint, target: Endpoint, port: int, protocol: str = "TCP") -> bool:
    """Whether ``source`` may open a connection to ``port`` of ``target``."""
    known = list(policies)
    return _passes(known, source, target, port, protocol, "Egress") and _passes(
        known, target, source, port, protocol, "Ingress"
    )


def _passes(policies: list[Policy], owner: Endpoint, peer: Endpoint, port: int, protocol: str, way: str) -> bool:
    if owner.address:
        return True
    mine = [policy for policy in policies if _selects(policy, owner) and way in policy["spec"]["policyTypes"]]
    if not mine:
        return True
    key, peers = ("egress", "to") if way == "Egress" else ("ingress", "from")
    rules = [rule for policy in mine for rule in policy["spec"].get(key, [])]
    return any(_admits(rule, peers, owner, peer, port, protocol) for rule in rules)


def _selects(policy: Policy, endpoint: Endpoint) -> bool:
    return policy["metadata"].get("namespace", "llm") == endpoint.namespace and fits(
        policy["spec"]["podSelector"], endpoint.labels
    )


def _admits(rule: Policy, peers: str, owner: Endpoint, peer: Endpoint, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    if ports and not any(item["port"] == port and item["protocol"] == protocol for item in ports):
        return False
    return not rule.get(peers) or any(_is_peer(item, owner, peer) for item in rule[peers])


def _is_peer(item: Policy, owner: Endpoint, peer: Endpoint) -> bool:
    if "ipBlock" in item:
        return bool(peer.address) and ipaddress.ip_address(peer.address) in ipaddress.ip_network(
            item["ipBlock"]["cidr"]
        )
    if peer.address:
        return False
    if "namespaceSelector" in item:
        in_namespace = fits(item["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace})
    else:
        in_namespace = peer.namespace == owner.namespace
    return in_namespace and fits(item.get("podSelector", {}), peer.labels)


def fits(selector: Policy, labels: dict[str, str]) -> bool:
    """A label selector; an empty one fits everything."""
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for expression in selector.get("matchExpressions", []):
        if expression["operator"] != "In":
            raise ValueError(f"operator {expression['operator']} is not modelled")
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True

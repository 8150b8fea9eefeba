"""Every pod passes ``restricted``; and each rule finds the pod that it is for."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.deploy import pod_security as rules
from tests.deploy.charts import NAMES, pods, render, values

_CONTAINER: dict[str, Any] = {
    "name": "c",
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}
GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [_CONTAINER],
    "volumes": [{"name": "v", "emptyDir": {}}],
}


def pod(**changes: Any) -> dict[str, Any]:
    return GOOD | changes


def container(**changes: Any) -> dict[str, Any]:
    return pod(containers=[_CONTAINER | changes])


def secured(**changes: Any) -> dict[str, Any]:
    return container(securityContext=_CONTAINER["securityContext"] | changes)


def pod_secured(**changes: Any) -> dict[str, Any]:
    return pod(securityContext=GOOD["securityContext"] | changes)


BAD = [
    (rules.host_process, secured(windowsOptions={"hostProcess": True})),
    (rules.host_namespaces, pod(hostNetwork=True)),
    (rules.host_namespaces, pod(hostPID=True)),
    (rules.host_namespaces, pod(hostIPC=True)),
    (rules.privileged, secured(privileged=True)),
    (rules.host_ports, container(ports=[{"containerPort": 1, "hostPort": 1}])),
    (rules.host_probes, container(livenessProbe={"httpGet": {"host": "example.com", "port": 1}})),
    (rules.host_probes, container(lifecycle={"preStop": {"tcpSocket": {"host": "example.com", "port": 1}}})),
    (rules.app_armor, pod_secured(appArmorProfile={"type": "Unconfined"})),
    (rules.selinux, secured(seLinuxOptions={"type": "spc_t"})),
    (rules.selinux, secured(seLinuxOptions={"role": "sysadm_r"})),
    (rules.proc_mount, secured(procMount="Unmasked")),
    (rules.sysctls, pod_secured(sysctls=[{"name": "kernel.msgmax", "value": "1"}])),
    (rules.volume_types, pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}])),
    (rules.privilege_escalation, container(securityContext={"capabilities": {"drop": ["ALL"]}})),
    (rules.non_root, pod(securityContext={"seccompProfile": {"type": "RuntimeDefault"}})),
    (rules.non_root_user, secured(runAsUser=0)),
    (rules.seccomp, pod(securityContext={"runAsNonRoot": True})),
    (rules.seccomp, secured(seccompProfile={"type": "Unconfined"})),
    (rules.capabilities, container(securityContext={"allowPrivilegeEscalation": False})),
    (rules.capabilities, secured(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]})),
]


@pytest.mark.parametrize(("rule", "bad"), BAD, ids=lambda part: getattr(part, "__name__", ""))
def test_rule_finds_its_pod_and_lets_a_good_one_pass(rule: rules.Rule, bad: dict[str, Any]) -> None:
    assert list(rule(bad))
    assert not list(rule(deepcopy(GOOD)))


def test_every_rule_is_tried() -> None:
    assert {rule for rule, _ in BAD} == set(rules.RULES)


@pytest.mark.parametrize("example", NAMES)
def test_pods_pass_restricted(example: str) -> None:
    for found in pods(render(values(example))):
        assert [problem for rule in rules.RULES for problem in rule(found.spec)] == [], found.owner


def test_placement_and_trial_stores_pass_restricted() -> None:
    given = {"trialStores": {"enabled": True}, "modelStore": {"placement": {"enabled": True, "models": ["demo"]}}}
    owners = set()
    for found in pods(render(given)):
        owners.add(found.owner)
        assert [problem for rule in rules.RULES for problem in rule(found.spec)] == [], found.owner
    assert owners >= {"postgres", "redis", "model-placement"}


def test_host_path_in_the_pod_needs_a_privileged_namespace() -> None:
    """The letter of the seed, by one value; the default passes without it."""
    given = {"modelStore": {"type": "hostPath"}, "workers": {"a": {"kind": "cpu", "model": "m"}}}
    (worker,) = [found for found in pods(render(given)) if found.owner == "cpu-worker-a"]
    problems = [problem for rule in rules.RULES for problem in rule(worker.spec)]
    assert problems == ["volume model is a hostPath"]

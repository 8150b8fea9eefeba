"""The Pod Security Standards' level ``restricted``, rule by rule.

Source: kubernetes.io/docs/concepts/security/pod-security-standards, the tables "Baseline" and "Restricted". Each rule
takes a pod's specification and names what is forbidden in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Spec = dict[str, Any]
Rule = Callable[[Spec], Iterator[str]]

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
_SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SECCOMP = {"RuntimeDefault", "Localhost"}


def _containers(spec: Spec) -> list[Spec]:
    return [*spec.get("initContainers", []), *spec.get("ephemeralContainers", []), *spec["containers"]]


def _security(owner: Spec) -> Spec:
    found: Spec = owner.get("securityContext", {})
    return found


def host_process(spec: Spec) -> Iterator[str]:
    """Baseline, HostProcess."""
    for owner in (spec, *_containers(spec)):
        if _security(owner).get("windowsOptions", {}).get("hostProcess"):
            yield "hostProcess"


def host_namespaces(spec: Spec) -> Iterator[str]:
    """Baseline, Host Namespaces."""
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield name


def privileged(spec: Spec) -> Iterator[str]:
    """Baseline, Privileged Containers."""
    for container in _containers(spec):
        if _security(container).get("privileged"):
            yield f"{container['name']} is privileged"


def host_ports(spec: Spec) -> Iterator[str]:
    """Baseline, Host Ports."""
    for container in _containers(spec):
        for port in container.get("ports", []):
            if port.get("hostPort"):
                yield f"{container['name']} takes port {port['hostPort']} of the host"


def host_probes(spec: Spec) -> Iterator[str]:
    """Baseline, Host Probes / Lifecycle Hooks (1.34 and newer)."""
    for container in _containers(spec):
        hooks = [container.get(name, {}) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
        hooks += container.get("lifecycle", {}).values()
        for hook in hooks:
            if any(hook.get(kind, {}).get("host") for kind in ("httpGet", "tcpSocket")):
                yield f"{container['name']} names a host in a probe"


def app_armor(spec: Spec) -> Iterator[str]:
    """Baseline, AppArmor."""
    for owner in (spec, *_containers(spec)):
        if _security(owner).get("appArmorProfile", {}).get("type") == "Unconfined":
            yield "AppArmor is unconfined"


def selinux(spec: Spec) -> Iterator[str]:
    """Baseline, SELinux."""
    for owner in (spec, *_containers(spec)):
        options = _security(owner).get("seLinuxOptions", {})
        if options.get("type", "") not in _SELINUX_TYPES or options.get("user") or options.get("role"):
            yield "SELinux options"


def proc_mount(spec: Spec) -> Iterator[str]:
    """Baseline, /proc Mount Type."""
    for container in _containers(spec):
        if _security(container).get("procMount", "Default") != "Default":
            yield f"{container['name']} unmasks /proc"


def sysctls(spec: Spec) -> Iterator[str]:
    """Baseline, Sysctls."""
    for setting in _security(spec).get("sysctls", []):
        if setting["name"] not in _SAFE_SYSCTLS:
            yield f"sysctl {setting['name']}"


def volume_types(spec: Spec) -> Iterator[str]:
    """Restricted, Volume Types; with it Baseline, HostPath Volumes."""
    for volume in spec.get("volumes", []):
        for kind in volume.keys() - {"name"} - _VOLUMES:
            yield f"volume {volume['name']} is a {kind}"


def privilege_escalation(spec: Spec) -> Iterator[str]:
    """Restricted, Privilege Escalation."""
    for container in _containers(spec):
        if _security(container).get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']} may gain privileges"


def non_root(spec: Spec) -> Iterator[str]:
    """Restricted, Running as Non-root."""
    for container in _containers(spec):
        if not _security(container).get("runAsNonRoot", _security(spec).get("runAsNonRoot")):
            yield f"{container['name']} may be root"


def non_root_user(spec: Spec) -> Iterator[str]:
    """Restricted, Running as Non-root user."""
    for owner in (spec, *_containers(spec)):
        if _security(owner).get("runAsUser") == 0:
            yield "user 0"


def seccomp(spec: Spec) -> Iterator[str]:
    """Restricted, Seccomp."""
    whole = _security(spec).get("seccompProfile", {}).get("type")
    for container in _containers(spec):
        if _security(container).get("seccompProfile", {}).get("type", whole) not in _SECCOMP:
            yield f"{container['name']} has no seccomp profile"


def capabilities(spec: Spec) -> Iterator[str]:
    """Restricted, Capabilities."""
    for container in _containers(spec):
        given = _security(container).get("capabilities", {})
        if "ALL" not in given.get("drop", []) or set(given.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{container['name']} keeps capabilities"


RULES: tuple[Rule, ...] = (
    host_process,
    host_namespaces,
    privileged,
    host_ports,
    host_probes,
    app_armor,
    selinux,
    proc_mount,
    sysctls,
    volume_types,
    privilege_escalation,
    non_root,
    non_root_user,
    seccomp,
    capabilities,
)

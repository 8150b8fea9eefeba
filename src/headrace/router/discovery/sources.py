"""The sources that the settings name."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.config import RouterSettings
from headrace.router.discovery.dns import DnsSource, resolver
from headrace.router.discovery.kubernetes import Cluster, EndpointSliceSource
from headrace.router.discovery.specification import Specification
from headrace.router.discovery.target import Source


def dynamic_sources(settings: RouterSettings, specifications: Iterable[Specification]) -> list[Source]:
    """One for each entry that is not a URL; entries that differ in nothing but the model share one."""
    models: dict[tuple[str, str], set[str]] = {}
    for given in specifications:
        if given.scheme != "http":
            models.setdefault((given.scheme, given.address), set()).add(given.model)
    cluster = Cluster(settings.kubernetes_api, settings.kubernetes_account)
    sources: list[Source] = []
    for (scheme, address), names in models.items():
        if scheme == "dns":
            sources.append(DnsSource(address, frozenset(names), resolver(settings.nameservers)))
        else:
            namespace, _, service = address.partition("/")
            sources.append(EndpointSliceSource(cluster, namespace, service, frozenset(names)))
    return sources

"""Metrics as text: Prometheus' format, or OpenMetrics', which alone has exemplars, for who asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as Sampled

from headrace.telemetry.snapshot import ChildSnapshot, FamilySnapshot


class Page(NamedTuple):
    """What a scrape is answered with."""

    content_type: str
    body: bytes


def render(snapshot: list[FamilySnapshot], accept: str = "") -> Page:
    """``accept``: the scraper's ``Accept`` header; without one, the text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(snapshot))
    encode, content_type = choose_encoder(accept)
    return Page(content_type, encode(registry))


class _Snapshot(Collector):
    def __init__(self, families: list[FamilySnapshot]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family.name.removesuffix("_total"), family.help, family.kind)
            for child in family.children:
                labels = dict(zip(family.label_names, child.labels, strict=True))
                if family.kind == "histogram":
                    _add_histogram(metric, family, labels, child)
                else:
                    metric.add_sample(family.name, labels, child.values[0])
            yield metric


def _add_histogram(metric: Metric, family: FamilySnapshot, labels: dict[str, str], child: ChildSnapshot) -> None:
    total = 0.0
    for place, bound in enumerate((*map(str, family.bounds), "+Inf")):
        total += child.values[place]
        one = child.exemplars.get(place)
        exemplar = None if one is None else Sampled({"trace_id": one.trace}, one.value, one.at)
        metric.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, total, exemplar=exemplar)
    metric.add_sample(f"{family.name}_sum", labels, child.values[-1])
    metric.add_sample(f"{family.name}_count", labels, total)

"""Counters, gauges and histograms that cost a hot path almost nothing.

prometheus-client's own instruments take a lock and walk their buckets for every observation; these are plain numbers
of one event loop. They are rendered by prometheus-client, and the snapshots of several processes can be merged.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import add
from typing import Generic, Literal, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

TTFT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds to the first token."""
ITL_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between two tokens."""
WAIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds in a queue, or of a hop's own work."""
DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds of a whole request."""

MAX_CHILDREN = 2_000
"""Label sets of one family; later ones share a child whose labels are all ``other``, so that memory is bounded."""

Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max", "min"]


_COMBINE: dict[Merge, Callable[[float, float], float]] = {"sum": add, "max": max, "min": min}


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        self.value += amount


class Gauge:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        self.value = value

    def inc(self, amount: float = 1) -> None:
        self.value += amount

    def dec(self, amount: float = 1) -> None:
        self.value -= amount


class Histogram:
    """Counts of observations at or below each bound, and their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


C = TypeVar("C", Counter, Gauge, Histogram)


class Family(Generic[C]):
    """All children of one metric: one for each set of label values."""

    def __init__(
        self, kind: Kind, name: str, text: str, labels: Sequence[str], make: Callable[[], C], merge: Merge = "sum"
    ) -> None:
        self.kind, self.name, self.help, self.label_names, self.merge = kind, name, text, tuple(labels), merge
        self.children: dict[tuple[str, ...], C] = {}
        self._make: Callable[[], C] = make

    def labels(self, *values: str) -> C:
        """The child with these label values; keep it, looking it up costs more than using it."""
        child = self.children.get(values)
        if child is None:
            if len(values) != len(self.label_names):
                raise ValueError(f"{self.name} has the labels {self.label_names}, got {values}")
            if len(self.children) >= MAX_CHILDREN:
                values = ("other",) * len(values)
            child = self.children.setdefault(values, self._make())
        return child

    def values(self) -> list[tuple[tuple[str, ...], list[float]]]:
        """The state of every child; a histogram's is its counts and then its sum."""
        return [(labels, _values(child)) for labels, child in list(self.children.items())]

    def remove(self, *values: str) -> None:
        """Forget a child whose subject is gone."""
        self.children.pop(values, None)

    @property
    def only(self) -> C:
        """The child of a family without labels."""
        return self.labels()


_AnyFamily = Family[Counter] | Family[Gauge] | Family[Histogram]


class FamilySnapshot(msgspec.Struct, array_like=True):
    """A family's state as plain data. A histogram's values are its counts and then its sum."""

    kind: Kind
    name: str
    help: str
    label_names: tuple[str, ...]
    merge: Merge
    bounds: tuple[float, ...]
    children: list[tuple[tuple[str, ...], list[float]]]


class Registry:
    """The metrics of one service."""

    def __init__(self) -> None:
        self._families: dict[str, _AnyFamily] = {}
        self._bounds: dict[str, tuple[float, ...]] = {}
        self._callbacks: list[Callable[[], None]] = []

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Family[Counter]:
        if not name.endswith("_total"):
            raise ValueError(f"{name}: the name of a counter ends in _total")
        family = Family("counter", name, text, labels, Counter)
        self._add(family)
        return family

    def gauge(self, name: str, text: str, labels: Sequence[str] = (), merge: Merge = "sum") -> Family[Gauge]:
        """``merge`` says how the values of several processes become one."""
        family = Family("gauge", name, text, labels, Gauge, merge)
        self._add(family)
        return family

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = DURATION_BUCKETS
    ) -> Family[Histogram]:
        bounds = tuple(buckets)
        family = Family("histogram", name, text, labels, lambda: Histogram(bounds))
        self._bounds[name] = bounds
        self._add(family)
        return family

    def on_collect(self, callback: Callable[[], None]) -> None:
        """``callback`` runs before each snapshot: the place to set gauges that are cheaper to read than to keep."""
        self._callbacks.append(callback)

    def names(self) -> list[str]:
        return sorted(self._families)

    def snapshot(self) -> list[FamilySnapshot]:
        for callback in self._callbacks:
            callback()
        return [
            FamilySnapshot(
                family.kind,
                family.name,
                family.help,
                family.label_names,
                family.merge,
                self._bounds.get(family.name, ()),
                family.values(),
            )
            for family in self._families.values()
        ]

    def _add(self, family: _AnyFamily) -> None:
        if family.name in self._families:
            raise ValueError(f"{family.name} is registered twice")
        self._families[family.name] = family
        if not family.label_names:
            family.labels()


def merge(snapshots: Iterable[list[FamilySnapshot]]) -> list[FamilySnapshot]:
    """One snapshot out of several processes': counters and histograms are summed, gauges by their own rule."""
    merged: dict[str, FamilySnapshot] = {}
    for snapshot in snapshots:
        for family in snapshot:
            known = merged.get(family.name)
            merged[family.name] = family if known is None else _merge_pair(known, family)
    return list(merged.values())


def lasting(snapshot: Iterable[FamilySnapshot]) -> list[FamilySnapshot]:
    """What stays true of a process that is gone: its counts, but none of its gauges."""
    return [family for family in snapshot if family.kind != "gauge"]


def render(snapshot: list[FamilySnapshot]) -> bytes:
    """Prometheus' text format, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(snapshot))
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, families: list[FamilySnapshot]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family.name.removesuffix("_total"), family.help, family.kind)
            for labels, values in family.children:
                pairs = dict(zip(family.label_names, labels, strict=True))
                if family.kind == "histogram":
                    _add_histogram(metric, family, pairs, values)
                else:
                    metric.add_sample(family.name, pairs, values[0])
            yield metric


def _add_histogram(metric: Metric, family: FamilySnapshot, labels: dict[str, str], values: list[float]) -> None:
    total = 0.0
    for bound, count in zip((*map(str, family.bounds), "+Inf"), values, strict=False):
        total += count
        metric.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, total)
    metric.add_sample(f"{family.name}_sum", labels, values[-1])
    metric.add_sample(f"{family.name}_count", labels, total)


def _values(child: Counter | Gauge | Histogram) -> list[float]:
    return [*child.counts, child.sum] if isinstance(child, Histogram) else [child.value]


def _merge_pair(a: FamilySnapshot, b: FamilySnapshot) -> FamilySnapshot:
    combine = _COMBINE[a.merge]
    children = dict(a.children)
    for labels, values in b.children:
        mine = children.get(labels)
        children[labels] = values if mine is None else [combine(x, y) for x, y in zip(mine, values, strict=True)]
    return msgspec.structs.replace(a, children=list(children.items()))

"""Counters, gauges and histograms that cost a hot path almost nothing.

prometheus-client's own instruments take a lock and walk their buckets for every observation; these are plain numbers
of one event loop. ``exposition`` renders snapshots of them with prometheus-client; ``snapshot`` merges several.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from headrace.telemetry.snapshot import ChildSnapshot, Exemplar, FamilySnapshot, Kind, Merge

TTFT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds to the first token."""
ITL_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between two tokens."""
WAIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds in a queue, or of a hop's own work."""
DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds of a whole request."""

MAX_CHILDREN = 10_000
"""Label sets of one family; later ones share a child whose labels are all ``other``, so that memory is bounded."""
OTHER = "other"


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

    __slots__ = ("_bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.exemplars: dict[int, Exemplar] = {}
        """The latest of each bucket, by its place; none where nothing is traced."""

    def observe(self, value: float, trace: str = "") -> None:
        """``trace``: the id of one that can be looked up, which becomes the bucket's exemplar."""
        place = bisect_left(self._bounds, value)
        self.counts[place] += 1
        self.sum += value
        if trace:
            self.exemplars[place] = Exemplar(trace, value, time.time())


class Bound:
    """Keeps a label of many values small: the first ``most`` of them stay themselves, all others become ``other``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        if value not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(value)
        return value


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
                values = (OTHER,) * len(values)
            child = self.children.setdefault(values, self._make())
        return child

    def snapshot(self) -> list[ChildSnapshot]:
        """The state of every child."""
        return [_snapshot(labels, child) for labels, child in list(self.children.items())]

    def remove(self, *values: str) -> None:
        """Forget a child whose subject is gone."""
        self.children.pop(values, None)

    @property
    def only(self) -> C:
        """The child of a family without labels."""
        return self.labels()


_AnyFamily = Family[Counter] | Family[Gauge] | Family[Histogram]


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
        bounds = tuple(map(float, buckets))
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
                family.snapshot(),
            )
            for family in self._families.values()
        ]

    def _add(self, family: _AnyFamily) -> None:
        if family.name in self._families:
            raise ValueError(f"{family.name} is registered twice")
        self._families[family.name] = family
        if not family.label_names:
            family.labels()


def _snapshot(labels: tuple[str, ...], child: Counter | Gauge | Histogram) -> ChildSnapshot:
    if isinstance(child, Histogram):
        return ChildSnapshot(labels, [*child.counts, child.sum], dict(child.exemplars))
    return ChildSnapshot(labels, [child.value])

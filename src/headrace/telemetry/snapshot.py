"""The state of a service's metrics as plain data, and how several processes' become one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import add
from typing import Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max", "min"]

_COMBINE: dict[Merge, Callable[[float, float], float]] = {"sum": add, "max": max, "min": min}


class Exemplar(msgspec.Struct, array_like=True, frozen=True):
    """One observation of a bucket whose trace can be looked up."""

    trace: str
    """32 hex digits."""
    value: float
    at: float
    """Seconds since 1970."""


class ChildSnapshot(msgspec.Struct, array_like=True):
    """One set of label values. A histogram's values are its counts and then its sum."""

    labels: tuple[str, ...]
    values: list[float]
    exemplars: dict[int, Exemplar] = {}
    """Of a histogram: the latest one of each bucket that has any, by the bucket's place."""


class FamilySnapshot(msgspec.Struct, array_like=True):
    """A metric with all its children."""

    kind: Kind
    name: str
    help: str
    label_names: tuple[str, ...]
    merge: Merge
    bounds: tuple[float, ...]
    children: list[ChildSnapshot]


def merge(snapshots: Iterable[list[FamilySnapshot]]) -> list[FamilySnapshot]:
    """One snapshot out of several processes': counters and histograms are summed, gauges by their own rule.

    Of each bucket's exemplars the latest stays.
    """
    merged: dict[str, FamilySnapshot] = {}
    for snapshot in snapshots:
        for family in snapshot:
            known = merged.get(family.name)
            merged[family.name] = family if known is None else _merge_families(known, family)
    return list(merged.values())


def lasting(snapshot: Iterable[FamilySnapshot]) -> list[FamilySnapshot]:
    """What stays true of a process that is gone: its counts, but none of its gauges."""
    return [family for family in snapshot if family.kind != "gauge"]


def _merge_families(a: FamilySnapshot, b: FamilySnapshot) -> FamilySnapshot:
    children = {child.labels: child for child in a.children}
    for child in b.children:
        mine = children.get(child.labels)
        children[child.labels] = child if mine is None else _merge_children(mine, child, _COMBINE[a.merge])
    return msgspec.structs.replace(a, children=list(children.values()))


def _merge_children(a: ChildSnapshot, b: ChildSnapshot, combine: Callable[[float, float], float]) -> ChildSnapshot:
    values = [combine(x, y) for x, y in zip(a.values, b.values, strict=True)]
    exemplars = dict(a.exemplars)
    for place, exemplar in b.exemplars.items():
        if place not in exemplars or exemplars[place].at < exemplar.at:
            exemplars[place] = exemplar
    return ChildSnapshot(a.labels, values, exemplars)

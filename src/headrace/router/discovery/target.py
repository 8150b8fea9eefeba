"""A worker as discovery names it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from headrace.wire.client import Origin

ANY = "*"
"""In place of a model: whichever of the pools the worker serves."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a worker is, and which pools it is there for."""

    url: str
    ops_url: str | None
    models: frozenset[str]
    """Names of pools, or ``ANY``."""

    @property
    def name(self) -> str:
        """``host:port``: the same worker, however its address is written."""
        return Origin(self.url).name


Publish = Callable[[Collection[Target]], None]
"""Takes all the workers that a source knows of now."""


class Source(Protocol):
    """Something that knows which workers there are."""

    async def run(self, publish: Publish) -> None:
        """Call ``publish`` at first and whenever they are not the same as before; ends only when it is cancelled."""


def merge(targets: Collection[Target]) -> dict[str, Target]:
    """One for each address, there for the pools of all its namings."""
    merged: dict[str, Target] = {}
    for target in targets:
        name = target.name
        known = merged.get(name, target)
        merged[name] = Target(known.url, known.ops_url or target.ops_url, known.models | target.models)
    return merged

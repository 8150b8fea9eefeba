"""Reads a few samples out of Prometheus text, without parsing the hundreds of buckets around them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping

_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
Sample = tuple[Mapping[str, str], float]


class Samples:
    """The samples of some names. What an engine does not tell is simply not there."""

    def __init__(self, text: bytes, names: Collection[str]) -> None:
        """Lines that are not of ``names``, or that cannot be read, are passed over."""
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        for line in text.decode(errors="replace").splitlines():
            name = line[: min(found for at in "{ " if (found := line.find(at)) >= 0)] if " " in line else ""
            if name in names:
                self._take(name, line[len(name) :])

    def _take(self, name: str, rest: str) -> None:
        labels, _, value = rest.rpartition("}") if rest.startswith("{") else ("", "", rest)
        try:
            number = float(value.split()[0])
        except (IndexError, ValueError):
            return
        self._samples[name].append((dict(_LABEL.findall(labels)), number))

    def all(self, name: str) -> list[Sample]:
        return self._samples.get(name, [])

    def total(self, name: str) -> float:
        """The sum over all labels: an engine of several ranks has a sample for each."""
        return sum(value for _, value in self.all(name))

    def __contains__(self, name: str) -> bool:
        return name in self._samples

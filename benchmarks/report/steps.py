"""The steps of the report: one that fails is told, and the others go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from msgspec import MsgspecError
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.gateway.processes import BenchmarkError
from benchmarks.report import samples
from benchmarks.report.environment import progress

_MAY_FAIL = (BenchmarkError, OSError, psutil.Error, SQLAlchemyError, MsgspecError)
"""What a measurement may end with: a process that is gone, a port, a database, an answer that is none."""
_OURS = ("direct", "headrace", "router")
"""A rival may fail, which the page tells; what Headrace is judged by may not."""


@dataclass(frozen=True, slots=True)
class Step:
    """``measure`` gives what belongs to ``part``, by key."""

    part: str
    name: str
    measure: Callable[[], Mapping[str, Mapping[str, Any]]]


def run(steps: Iterable[Step], folder: Path = samples.FOLDER, *, afresh: bool = False) -> list[str]:
    """What failed. The samples of each step are kept at once; ``afresh`` drops those of former runs."""
    failed, begun = [], set()
    for step in steps:
        progress(f"{step.part}: {step.name}")
        before = os.getloadavg()[0]
        try:
            found = step.measure()
        except _MAY_FAIL as error:
            failed.append(f"{step.name}: {error}")
            continue
        about = {"commit": samples.commit(), "load_average": [before, os.getloadavg()[0]]}
        measured = {key: {"run": about, **one} for key, one in found.items()}
        samples.keep(step.part, measured, folder, afresh=afresh and step.part not in begun)
        begun.add(step.part)
        for key, one in found.items():
            failed += [f"{key} by {who}: {why}" for who, why in one.get("missing", {}).items() if who in _OURS]
    return failed

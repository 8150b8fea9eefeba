"""The runs that the report is made of, and their results."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from headrace.errors import ConfigError
from headrace.simulate import constants, rules
from headrace.simulate.outcome import Outcome
from headrace.simulate.run import Cell, run
from headrace.simulate.scenario import SCENARIOS, named

TRAINING = (1, 2, 3)
"""Seeds that the router's profile was worked on with."""
HELD_OUT = (1001, 1002, 1003)
"""Seeds that were run once, after that."""
FLEETS = (8, 64, 512)
ROUTERS = (1, 4, 16)
_REQUESTS = {8: 120, 64: 60, 512: 24}
"""For each worker: conversations take a while, and hundreds of workers take their time."""
_SEEDS = {8: 3, 64: 1, 512: 1}
_WARMING = 0.75
"""Load of these shorter runs, of which a larger part goes by with empty caches."""
COMPARED = (rules.OURS[0], *rules.RIVALS)
"""The default profile and the others' rules: what the larger parts of the report compare."""


class Key(msgspec.Struct, frozen=True):
    """A run. ``Cell``, but for what cannot be written down."""

    group: str
    """The part of the report that it belongs to."""
    scenario: str
    constants: str
    rule: str
    workers: int
    routers: int
    load: float
    seed: int
    each: int


class Result(msgspec.Struct, frozen=True):
    key: Key
    outcome: Outcome


def report_keys(seeds: Sequence[int]) -> Iterator[Key]:
    """All runs of the report."""
    for rule in rules.NAMES:
        for seed in seeds:
            for scenario in SCENARIOS:
                yield Key("scenarios", scenario, "gpu-assumed", rule, 8, 1, 1.0, seed, 120)
    for rule in COMPARED:
        for seed in seeds:
            for scenario in SCENARIOS:
                yield Key("calibrated", scenario, "cpu-smollm2", rule, 8, 1, 0.5, seed, 60)
                yield Key("light", scenario, "gpu-assumed", rule, 8, 1, 0.5, seed, 120)
        for workers in FLEETS:
            for routers in ROUTERS:
                for seed in seeds[: _SEEDS[workers]]:
                    yield Key(
                        "sizes", "mixed", "gpu-assumed", rule, workers, routers, _WARMING, seed, _REQUESTS[workers]
                    )


def run_key(key: Key) -> Result:
    cell = Cell(
        named(key.scenario),
        constants.load(key.constants),
        key.rule,
        key.workers,
        key.routers,
        key.seed,
        key.each,
        key.load,
    )
    return Result(key, run(cell))


def run_all(keys: Sequence[Key], jobs: int, file: Path | None, done: Callable[[], None]) -> list[Result]:
    """The results of ``keys``. Those that ``file`` has are not run again; the others are added to it one by one.

    Raises ConfigError for a file of something else.
    """
    known = {result.key: result for result in _read(file)} if file is not None and file.exists() else {}
    left = [key for key in keys if key not in known]
    for _ in range(len(keys) - len(left)):
        done()
    left.sort(key=lambda key: key.workers * key.each)  # most of it is there soon
    with ProcessPoolExecutor(jobs) as pool:
        for result in pool.map(run_key, left, chunksize=1):
            known[result.key] = result
            if file is not None:
                with file.open("ab") as output:
                    output.write(msgspec.json.encode(result) + b"\n")
            done()
    return [known[key] for key in keys]


def mean(results: Sequence[Result], figure: str) -> float:
    """Of a figure of the outcomes, over the seeds."""
    return statistics.fmean(getattr(result.outcome, figure) for result in results)


def _read(file: Path) -> list[Result]:
    try:
        return [msgspec.json.decode(line, type=Result) for line in file.read_bytes().splitlines()]
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{file}: these are no results of a simulation: {error}") from None

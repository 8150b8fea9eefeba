"""Measures the constants of the simulator's engine on a real one: cpu-worker's pipeline with a real model.

    python -m benchmarks.calibrate MODEL_FOLDER --out src/headrace/simulate/engines/cpu-smollm2.json

Each step of the engine is timed with what is in it: tokens of prompts, sequences that decode, tokens of their KV cache.
Steps of one make-up are reduced to their median and fitted by least squares of the relative error. Then a trace of
requests that the fit has not seen is run on the engine and, in virtual time, on the model, and compared: that is the
check. Steps are timed in CPU seconds of the process by default, divided by its cores: on a quiet machine that is the
time of the clock, and on a busy one it is still the engine's (``--clock`` takes the clock's).
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np

from headrace.simulate.constants import Constants
from headrace.simulate.engine import Engine
from headrace.simulate.request import Request
from headrace.simulate.text import Text
from headrace.simulate.timeline import Timeline
from headrace.workers.cpu.messages import EngineSpec, Sampling
from headrace.workers.cpu.pipeline import Pipeline

CHUNK = 256
"""OpenVINO GenAI's ``max_num_batched_tokens``."""
RUNNING = 16
KV_BLOCKS, BLOCK_TOKENS = 1024, 32
VOCABULARY = 40_000

Row = tuple[int, int, int]
"""Tokens of prompts in a step, sequences that decode, tokens of their KV cache."""


class Bench:
    """The engine, and how its steps are timed."""

    def __init__(self, model: Path, clock: Callable[[], float]) -> None:
        self._pipeline = Pipeline(EngineSpec(str(model), "f32", RUNNING, KV_BLOCKS))
        self._clock = clock
        self._rng = random.Random(1)
        self._number = 1
        self.steps: defaultdict[Row, list[float]] = defaultdict(list)

    def prefill(self, length: int) -> None:
        """One prompt, alone, in chunks."""
        self._add(length, 1)
        left = length
        while self._pipeline.busy:
            chunk = min(CHUNK, left)
            self._step((chunk, 0, 0))
            left -= chunk

    def decode(self, count: int, length: int, tokens: int) -> None:
        """``count`` sequences of about ``length`` tokens, and nothing else, for ``tokens`` steps."""
        for _ in range(count):
            self._add(length, tokens + 8 * count * (length // CHUNK + 1))
        produced = dict.fromkeys(range(self._number - count, self._number), 0)
        made = 0
        while made < tokens:
            began = self._clock()
            outputs = self._pipeline.step()
            seconds = self._clock() - began
            for output in outputs:
                produced[output.id] += len(output.tokens)
            if all(produced.values()):
                if made:  # the first is still of the prompts
                    self.steps[0, count, round(sum(produced.values()) + count * length, -2)].append(seconds)
                made += 1
        for number in produced:
            self._pipeline.cancel(number)
        while self._pipeline.busy:
            self._pipeline.step()

    def replay(self, trace: list[tuple[float, int, int]]) -> list[tuple[float, float]]:
        """Requests as they come, in the bench's own time: seconds to the first token of each, and to the last."""
        offset, now = self._number, 0.0
        came = [arrival for arrival, _, _ in trace]
        first: dict[int, float] = {}
        last: dict[int, float] = {}
        waiting = list(enumerate(trace))
        while waiting or self._pipeline.busy:
            if not self._pipeline.busy and waiting:
                now = max(now, waiting[0][1][0])
            while waiting and waiting[0][1][0] <= now:
                _, (_, length, tokens) = waiting.pop(0)
                self._add(length, tokens)
            began = self._clock()
            outputs = self._pipeline.step()
            now += self._clock() - began
            for output in outputs:
                if output.tokens:
                    first.setdefault(output.id - offset, now)
                    last[output.id - offset] = now
        return [(first[index] - came[index], last[index] - came[index]) for index in range(len(trace))]

    def _step(self, row: Row) -> None:
        began = self._clock()
        self._pipeline.step()
        self.steps[row].append(self._clock() - began)

    def _add(self, length: int, tokens: int) -> None:
        prompt = [self._rng.randrange(100, VOCABULARY) for _ in range(length)]
        self._pipeline.add(self._number, prompt, Sampling(max_tokens=tokens, ignore_eos=True))
        self._number += 1


def fit(steps: dict[Row, list[float]]) -> dict[str, float]:
    """Least squares of the relative error, no coefficient below 0."""
    rows = [(1.0, *row) for row in steps]
    seconds = np.array([statistics.median(times) for times in steps.values()])
    matrix = np.array(rows) / seconds[:, None]
    names = ["step", "prefill", "sequence", "context"]
    kept = list(range(len(names)))
    while True:
        found, *_ = np.linalg.lstsq(matrix[:, kept], np.ones(len(rows)), rcond=None)
        if (found >= 0).all():
            break
        del kept[int(found.argmin())]
    return dict.fromkeys(names, 0.0) | {names[index]: float(value) for index, value in zip(kept, found, strict=True)}


def modelled(constants: Constants, trace: list[tuple[float, int, int]]) -> list[tuple[float, float]]:
    """As ``Bench.replay``, in virtual time."""
    timeline = Timeline()
    engine = Engine(0, constants, timeline)
    requests = []
    for number, (arrival, length, tokens) in enumerate(trace):
        prompt = Text().plus(str(number), length)
        request = Request("t", prompt, prompt.plus("answer", tokens), tokens, 0, arrived=arrival)
        requests.append(request)
        timeline.at(arrival, lambda request=request: engine.submit(request, _Times(request, timeline)))  # type: ignore[misc]
    timeline.run(1e6)
    return [(request.first - request.arrived, request.finished - request.arrived) for request in requests]


class _Times:
    def __init__(self, request: Request, timeline: Timeline) -> None:
        self._request, self._timeline = request, timeline

    def began(self) -> None:
        self._request.first = self._timeline.now

    def ended(self) -> None:
        self._request.finished = self._timeline.now

    def lost(self) -> None:
        raise AssertionError("it does not die")


def trace(constants: Constants, count: int) -> Iterator[tuple[float, int, int]]:
    """Requests at about 0.7 of what the engine can do: arrival, prompt, answer."""
    rng = random.Random(2)
    now = 0.0
    for _ in range(count):
        length = min(1500, max(16, int(rng.lognormvariate(5.3, 0.8))))
        tokens = min(150, max(2, int(rng.lognormvariate(3.6, 0.6))))
        yield now, length, tokens
        now += rng.expovariate(0.7 / constants.request_seconds(270, 44))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure an engine's constants for the simulator.")
    parser.add_argument("model", type=Path, help="the model's .gguf file")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--clock", action="store_true", help="time steps by the clock, not by CPU time")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    bench = Bench(options.model, time.perf_counter if options.clock else lambda: time.process_time() / cores)
    for length in (64, 128, 512):
        for _ in range(3):
            bench.prefill(length)
    for count in (1, 2, 4, 8, 16):
        for length in (32, 256, 768):
            bench.decode(count, length, 8)
    found = fit(bench.steps)
    engine = f"openvino-genai {version('openvino-genai')}, {options.model.name}, f32"
    machine = f"{cores} cores, {platform.machine()}, Python {platform.python_version()}"
    constants = Constants(
        name=options.out.stem if options.out else "measured",
        measured=True,
        source=f"benchmarks/calibrate.py: {engine}, {machine}",
        chunk=CHUNK,
        max_running=RUNNING,
        kv_tokens=KV_BLOCKS * BLOCK_TOKENS,
        slo_first=10.0,
        slo_token=0.5,
        **{name: float(f"{value:.4g}") for name, value in found.items()},
    )
    print(msgspec.json.format(msgspec.json.encode(constants)).decode())
    print(f"{'chunk':>6}{'decode':>7}{'context':>9}{'median ms':>11}{'fit ms':>9}{'steps':>6}")
    for row, times in sorted(bench.steps.items()):
        guess = found["step"] + found["prefill"] * row[0] + found["sequence"] * row[1] + found["context"] * row[2]
        print(f"{row[0]:6}{row[1]:7}{row[2]:9}{statistics.median(times) * 1e3:11.2f}{guess * 1e3:9.2f}{len(times):6}")
    requests = list(trace(constants, 30))
    real, model = bench.replay(requests), modelled(constants, requests)
    for index, what in enumerate(("first token", "whole answer")):
        ours, theirs = sorted(pair[index] for pair in model), sorted(pair[index] for pair in real)
        errors = [abs(m[index] - r[index]) / r[index] for m, r in zip(model, real, strict=True)]
        figures = [
            f"p{share} {theirs[int(len(theirs) * share / 100)]:.2f} s, model {ours[int(len(ours) * share / 100)]:.2f} s"
            for share in (50, 90)
        ]
        print(f"{what}: {'; '.join(figures)}; median error of one request {statistics.median(errors):.0%}")
    if options.out:
        options.out.write_bytes(msgspec.json.format(msgspec.json.encode(constants)) + b"\n")


if __name__ == "__main__":
    main()

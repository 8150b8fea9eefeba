"""What a fleet is put through: who asks for what, how much of it, on which workers, and what breaks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from headrace.errors import ConfigError
from headrace.simulate.constants import Constants
from headrace.simulate.request import Session
from headrace.simulate.workloads.chat import chat
from headrace.simulate.workloads.flood import ABUSER, flood
from headrace.simulate.workloads.rag import rag
from headrace.simulate.workloads.shape import zipf
from headrace.simulate.workloads.shared_prompt import shared_prompt

Kind = Callable[[random.Random, str, str, float], Session]
Start = tuple[float, int, Session]
"""When a session begins, how many of its turns lie before the run, and the session."""
_TENANTS = 20
_SAMPLE = 400
"""Sessions that the mean cost is taken from."""
_THINK = 40.0
"""Mean pause between an answer and the next question, in mean requests' seconds of an engine's time."""


@dataclass(frozen=True)
class Scenario:
    """``load`` is a share of what the fleet could do if it cached nothing: above 1 only caches keep up with it."""

    name: str
    about: str
    mix: Mapping[Kind, float]
    load: float
    bursts: float = 1.0
    """How many times as much comes in bursts as on average: they take an eighth of the time."""
    slow: float = 0.0
    """Share of the workers that are of an older kind, half as fast."""
    crash: float = 0.0
    """Share of the workers that die together after two fifths of the run, and come back after another fifth."""
    flood: float = 0.0
    """Load of one tenant more, from a quarter of the run on."""

    def speeds(self, workers: int) -> list[float]:
        return [0.5 if number % 8 < self.slow * 8 else 1.0 for number in range(workers)]


_ALL: Mapping[Kind, float] = {chat: 3, shared_prompt: 3, rag: 2}
SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("chat", "conversations", {chat: 1}, 2.1),
        Scenario("shared", "long system prompts before short questions", {shared_prompt: 1}, 3.0),
        Scenario("rag", "long distinct prompts over shared documents", {rag: 1}, 1.4),
        Scenario("mixed", "all three at once", _ALL, 2.0),
        Scenario("bursts", "conversations, three times as many in bursts", {chat: 1}, 1.7, bursts=3.0),
        Scenario("uneven", "all three, half of the workers half as fast", _ALL, 1.9, slow=0.5),
        Scenario("crashes", "all three, an eighth of the workers dies", _ALL, 1.7, crash=0.125),
        Scenario("flood", "conversations, and one tenant that floods", {chat: 1}, 0.5, flood=2.0),
    )
}
"""Their loads are such that the best rules just cope with them and the worst do not."""


def named(name: str) -> Scenario:
    """Raises ConfigError for one that does not exist."""
    if name not in SCENARIOS:
        raise ConfigError(f"simulate: there is no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


@dataclass
class Script:
    """A scenario with its dice thrown: the same sessions for every rule that is tried."""

    scenario: Scenario
    constants: Constants
    seed: int
    workers: int
    each: int
    """Requests for each worker, about."""
    load: float = 1.0
    """Of the scenario's."""
    seconds: float = field(init=False)
    """How long requests come."""

    def __post_init__(self) -> None:
        rng = random.Random(f"{self.seed} cost")  # noqa: S311  repeatable
        requests, cost = 0, 0.0
        mean = self.constants.request_seconds(1000, 129)
        self.pause = _THINK * mean
        for number in range(_SAMPLE):
            for request in self._session(rng, f"sample {number}"):
                requests += 1
                cost += self.constants.request_seconds(request.prompt.tokens, request.output)
        capacity = sum(self.scenario.speeds(self.workers))
        self.turns = requests / _SAMPLE
        self.rate = self.load * self.scenario.load * capacity / (cost / _SAMPLE)
        """Sessions a second."""
        self.seconds = self.workers * self.each / (self.rate * self.turns)

    def starts(self) -> Iterator[Start]:
        """All sessions, by their time. Those that began before the run are in the middle of their conversation."""
        rng = random.Random(f"{self.seed} starts")  # noqa: S311
        under_way = round(self.rate * (self.turns - 1) * self.pause * 1.5)
        found = [self._under_way(rng, number) for number in range(under_way)]
        now, number = 0.0, 0
        while (now := self._next(rng, now)) < self.seconds:
            found.append((now, 0, self._session(random.Random(f"{self.seed} {number}"), f"s{number}")))  # noqa: S311
            number += 1
        return iter(sorted([*found, *self._flood(rng)], key=lambda start: start[0]))

    def _under_way(self, rng: random.Random, number: int) -> Start:
        """Longer ones are likelier to be met in the middle."""
        while True:
            seed = rng.random()
            turns = sum(1 for _ in self._session(random.Random(seed), "count"))  # noqa: S311
            if rng.random() < (turns - 1) / 8:
                break
        session = self._session(random.Random(seed), f"u{number}")  # noqa: S311
        return rng.random() * self.pause, rng.randrange(1, turns), session

    def _next(self, rng: random.Random, now: float) -> float:
        """Poisson arrivals; with bursts their rate changes every sixteenth of the run."""
        high = self.scenario.bursts
        low = (1 - high / 8) * 8 / 7
        while True:
            now += rng.expovariate(self.rate * high)
            in_burst = int(now / self.seconds * 16) % 8 == 4
            if in_burst or rng.random() < low / high:
                return now

    def _session(self, rng: random.Random, name: str) -> Session:
        kinds = self.scenario.mix
        kind = rng.choices(list(kinds), weights=list(kinds.values()))[0]
        return kind(rng, f"t{zipf(rng, _TENANTS, 0.6)}", name, self.pause)

    def _flood(self, rng: random.Random) -> Iterator[Start]:
        if not self.scenario.flood:
            return
        rate = self.scenario.flood * self.workers / self.constants.request_seconds(2700, 325)
        now, number = self.seconds / 4, 0
        while (now := now + rng.expovariate(rate)) < self.seconds:
            yield now, 0, flood(random.Random(f"{self.seed} flood {number}"), ABUSER, f"f{number}", 0.0)  # noqa: S311
            number += 1

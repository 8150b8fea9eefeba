"""One run: a script of requests through some routers to a fleet, in virtual time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headrace.simulate import rules
from headrace.simulate.constants import Constants
from headrace.simulate.engine import Engine
from headrace.simulate.outcome import Outcome, measure
from headrace.simulate.request import Request, Session
from headrace.simulate.scenario import Scenario, Script
from headrace.simulate.timeline import Timeline

_WARM_UP = 0.25
"""Share of the run that is not measured."""
_DRAIN = 3.0
"""Times the run's length, and one long answer, that what came may take to finish; what then is not finished failed."""
_SAMPLES = 64
"""Looks at the loads over the run."""


@dataclass(frozen=True)
class Cell:
    """What is run."""

    scenario: Scenario
    constants: Constants
    rule: str
    workers: int
    routers: int
    seed: int
    each: int
    """Requests for each worker, about."""
    load: float = 1.0
    """Of the scenario's."""
    own: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Profiles of the configuration."""


class Run:
    def __init__(self, cell: Cell) -> None:
        self.requests: list[Request] = []
        self.script = Script(cell.scenario, cell.constants, cell.seed, cell.workers, cell.each, cell.load)
        self._cell = cell
        self._timeline = Timeline()
        speeds = cell.scenario.speeds(cell.workers)
        self.engines = [Engine(number, cell.constants, self._timeline, speed) for number, speed in enumerate(speeds)]
        self._sessions: dict[Request, Session] = {}
        self._imbalances: list[float] = []
        self.routers, self._spread = rules.build(
            cell.rule, cell.own, cell.routers, self._timeline, self.engines, self._over
        )

    def go(self) -> Outcome:
        """From the first request to the end of the last one."""
        seconds = self.script.seconds
        for at, skipped, session in self.script.starts():
            self._timeline.at(at, lambda session=session, skipped=skipped: self._begin(session, skipped))  # type: ignore[misc]
        self._plan_crashes(seconds)
        begin = _WARM_UP * seconds
        for number in range(_SAMPLES):
            self._timeline.at(begin + (seconds - begin) * number / _SAMPLES, self._look)
        longest = 1000 * self._cell.constants.slo_token  # a long answer at the slowest pace that is good
        self._timeline.run(_DRAIN * seconds + longest)
        return measure(
            self.requests,
            self._cell.constants,
            begin=begin,
            end=seconds,
            imbalance=sum(self._imbalances) / max(1, len(self._imbalances)),
            preempted=sum(engine.preempted for engine in self.engines),
        )

    def _begin(self, session: Session, skipped: int) -> None:
        for _ in range(skipped):
            next(session, None)
        request = next(session, None)
        if request is not None:
            self._arrive(request, session)

    def _arrive(self, request: Request, session: Session) -> None:
        if self._timeline.now >= self.script.seconds:
            return
        request.arrived = self._timeline.now
        self.requests.append(request)
        self._sessions[request] = session
        self._spread(request).arrive(request)

    def _over(self, request: Request) -> None:
        """Its user goes on."""
        session = self._sessions.pop(request)
        following = next(session, None)
        if following is not None:
            self._timeline.after(following.pause, lambda: self._arrive(following, session))

    def _plan_crashes(self, seconds: float) -> None:
        count = round(self._cell.scenario.crash * len(self.engines))
        for engine in self.engines[:count]:
            self._timeline.at(seconds * 0.4, lambda engine=engine: self._crash(engine))  # type: ignore[misc]
            self._timeline.at(seconds * 0.6, lambda engine=engine: self._restart(engine))  # type: ignore[misc]

    def _crash(self, engine: Engine) -> None:
        for router in self.routers:
            router.crashed(engine)
        engine.crash()

    def _restart(self, engine: Engine) -> None:
        engine.restart()
        for router in self.routers:
            router.restarted(engine)

    def _look(self) -> None:
        alive: Sequence[Engine] = [engine for engine in self.engines if engine.alive]
        loads = [(engine.running + engine.waiting) / engine.speed for engine in alive]
        mean = sum(engine.running + engine.waiting for engine in alive) / sum(engine.speed for engine in alive)
        if mean > 0:
            self._imbalances.append(max(loads) / mean)


def run(cell: Cell) -> Outcome:
    return Run(cell).go()

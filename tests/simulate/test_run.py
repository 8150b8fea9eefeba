"""Whole runs: the same each time, nothing lost by ours, and one tenant's flood costs the others little."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics

import pytest

from headrace.errors import ConfigError
from headrace.simulate import constants, rules
from headrace.simulate.outcome import quantile
from headrace.simulate.run import Cell, Run
from headrace.simulate.scenario import SCENARIOS, named
from headrace.simulate.workloads.flood import ABUSER

GPU = constants.load("gpu-assumed")


def cell(scenario: str, rule: str = "latency", *, routers: int = 1, workers: int = 4, seed: int = 7) -> Cell:
    return Cell(named(scenario), GPU, rule, workers, routers, seed, 30)


@pytest.mark.parametrize("rule", ["latency", "llm-d"])
def test_a_run_is_the_same_each_time(rule: str) -> None:
    assert Run(cell("mixed", rule, routers=3)).go() == Run(cell("mixed", rule, routers=3)).go()


@pytest.mark.parametrize("rule", ["latency", "cache_aware", "llm-d"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_request_is_over_in_the_end_and_nothing_is_left(scenario: str, rule: str) -> None:
    made = Run(cell(scenario, rule, routers=2))
    made.go()
    made._timeline.run(20 * made.script.seconds)
    assert made.requests
    assert all(bool(request.failed) != math.isfinite(request.finished) for request in made.requests)
    assert [router.in_flight for router in made.routers] == [0, 0]
    assert all(engine.running == engine.waiting == engine.kv_usage == 0 for engine in made.engines)
    for router in made.routers:
        for worker in getattr(router, "workers", ()):
            assert (worker.in_flight, worker.work, worker.output, round(worker.prefill)) == (0, 0, 0, 0)


def test_rules_are_asked_the_same() -> None:
    first = [(start, skipped) for start, skipped, _ in Run(cell("mixed")).script.starts()]
    assert first == [(start, skipped) for start, skipped, _ in Run(cell("mixed", "llm-d")).script.starts()]
    assert first != [(start, skipped) for start, skipped, _ in Run(cell("mixed", seed=8)).script.starts()]


def test_ours_loses_nothing_when_workers_crash_and_those_that_cannot_resume_do() -> None:
    crash = dataclasses.replace(named("crashes"), crash=0.5)
    failed = {}
    for rule in ("latency", "round robin"):
        made = Run(dataclasses.replace(cell("crashes", rule), scenario=crash))
        made.go()
        failed[rule] = {request.failed for request in made.requests} - {""}
        assert any(request.tries > 1 for request in made.requests)
    assert failed == {"latency": set(), "round robin": {"broken stream"}}


def test_router_that_knows_the_prompts_meets_more_of_them_in_the_caches() -> None:
    ours, blind = (Run(dataclasses.replace(cell("chat", rule), each=100)).go() for rule in ("latency", "round robin"))
    assert ours.hit_rate > 1.5 * blind.hit_rate


@dataclasses.dataclass
class Flooded:
    """What a run beside an abusive tenant, or without one, was for the others."""

    first: list[float]
    """Seconds to their first tokens."""
    pace: float
    """Seconds for each further token of theirs, the median."""
    goodput: float
    batch: float
    """Seconds that the engines work on one of the flood's answers."""


@functools.cache
def _others(rule: str, flood: float, routers: int = 1) -> Flooded:
    scenario = dataclasses.replace(named("flood"), flood=flood)
    made = Run(dataclasses.replace(cell("flood", rule, routers=routers), scenario=scenario, each=100))
    outcome = made.go()
    began = made.script.seconds / 4
    finished = [request for request in made.requests if math.isfinite(request.finished) and request.output > 1]
    return Flooded(
        [request.ttft for request in made.requests if request.tenant != ABUSER and request.arrived > began],
        statistics.median(request.tpot for request in finished if request.tenant != ABUSER and request.arrived > began),
        outcome.goodput,
        statistics.fmean([request.finished - request.first for request in finished if request.tenant == ABUSER] or [0]),
    )


@pytest.mark.parametrize("routers", [1, 2])
@pytest.mark.parametrize("share", [0.5, 0.99, 1.0])
def test_abusive_tenant_costs_the_others_no_more_than_a_tenth_and_one_batch(share: float, routers: int) -> None:
    alone, beside = _others("latency", 0.0, routers), _others("latency", 2.0, routers)
    assert quantile(beside.first, share) <= 1.1 * quantile(alone.first, share) + beside.batch


@pytest.mark.parametrize("routers", [1, 2])
def test_beside_an_abusive_tenant_the_others_answers_are_good_still(routers: int) -> None:
    assert _others("latency", 2.0, routers).goodput > 0.99


def test_beside_an_abusive_tenant_the_others_tokens_come_as_with_half_a_batch() -> None:
    assert _others("latency", 2.0).pace <= 2.5 * _others("latency", 0.0).pace


def test_the_same_flood_costs_more_where_nothing_holds_it_back() -> None:
    alone, beside = _others("round robin", 0.0), _others("round robin", 2.0)
    assert quantile(beside.first, 0.99) > 1.1 * quantile(alone.first, 0.99) + beside.batch
    assert beside.pace > 2.5 * alone.pace
    assert beside.goodput < 0.5


def test_what_does_not_exist_is_told_with_what_does() -> None:
    with pytest.raises(ConfigError, match="there are chat, shared"):
        named("nothing")
    with pytest.raises(ConfigError, match="round robin"):
        rules.check("nothing", {})
    with pytest.raises(ConfigError, match="cpu-smollm2, gpu-assumed"):
        constants.load("nothing")

"""Every decision can be explained, counted, logged, and made again."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import ConfigError
from headrace.router.commands import replay as show
from headrace.router.flow.queue import PoolQueue
from headrace.router.scheduling import profiles
from headrace.router.scheduling.decision_log import DecisionLog
from headrace.router.scheduling.replay import read, replay
from headrace.router.scheduling.scheduler import Scheduler
from tests.router.fleet import Clock, prefix, ready, ticket


def test_scores_are_shown_for_each_candidate() -> None:
    scheduler = profiles.build("mine", {"mine": {"prefix": 2, "least-work": 0.5}}, random.Random(0))
    first, second = ready(2)
    second.begin(ticket())
    scheduler.pick(ticket(prefix=prefix(1)), [first, second], 10.0)
    mine = ticket(prefix=prefix(1))
    scheduler.pick(mine, [first, second], 11.0)
    latest, oldest = scheduler.decisions.view(12.5, "m", "mine", ["prefix", "least-work"])
    assert (latest.seconds_ago, oldest.seconds_ago) == (1.5, 2.5)
    assert (latest.worker, latest.reason, latest.cached_share) == (first.name, "prefix", 1.0)
    assert [(one.worker, one.scores, one.total) for one in latest.candidates] == [
        (first.name, {"prefix": 1.0, "least-work": 1.0}, 2.5),
        (second.name, {"prefix": 0.0, "least-work": 0.0}, 0.0),
    ]


def test_reasons_and_expected_tokens_are_counted() -> None:
    scheduler = profiles.build("prefix", {}, random.Random(0))
    first, second = ready(2, slots=16)
    scheduler.pick(ticket(), [first], 0)
    scheduler.pick(ticket(), [first, second], 0)
    scheduler.index.add([prefix(1).encode()], first)
    cost: dict[str, Any] = {"cost": "100,1", "prefix": prefix(1)}
    scheduler.pick(ticket(**cost), [first, second], 0)
    for _ in range(12):
        first.begin(ticket())
    scheduler.pick(ticket(**cost), [first, second], 0)
    decisions = scheduler.decisions
    assert decisions.counts == {"only": 1, "load": 1, "prefix": 1, "guard": 1}
    assert (decisions.prompt_tokens, decisions.cached_tokens) == (220, 100)


def test_ring_is_bounded() -> None:
    scheduler = profiles.build("least-work", {}, random.Random(0))
    workers = ready(2)
    for _ in range(1000):
        scheduler.pick(ticket(), workers, 0)
    assert len(scheduler.decisions.last) == 256


@pytest.mark.parametrize(
    ("name", "own", "told"),
    [
        ("best", {}, "there is no profile 'best'; there are latency, "),
        ("mine", {"mine": {"prefx": 1.0}}, "no plugin is named 'prefx'; there are latency, "),
        ("mine", {"mine": {"power-of-two": 1.0}}, "has no scorer"),
    ],
)
def test_wrong_profile_is_told(name: str, own: dict[str, dict[str, float]], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        profiles.build(name, own, random.Random(0))


def run(scheduler: Scheduler, requests: int = 300) -> None:
    """Traffic of eight conversations over three workers, one of them slow."""
    rng = random.Random(7)
    clock = Clock()
    workers = ready(3, slots=20, kv_total=10_000, block_size=16)
    queue = PoolQueue("m", scheduler, capacity=10, cold_wait=1, clock=clock, workers=workers)
    running = []
    for number in range(requests):
        headers: dict[str, Any] = {"prefix": prefix(rng.randrange(8), 1, 2), "cost": "1000,50", "session": "secret"}
        mine = ticket(clock.now, **headers)
        mine._headers[b"x-request-id"] = b"r%d" % number  # type: ignore[index]
        worker = queue.try_admit(mine)
        assert worker is not None
        clock.now += 0.05 if worker is workers[0] else 0.2
        queue.answered(worker, mine, stream=True)
        running.append((worker, mine))
        if len(running) > 10:
            queue.release(*running.pop(0), finished=True)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "decisions.jsonl"
    scheduler = profiles.build("round-robin", {}, random.Random(0))
    written = DecisionLog(path)
    written.attach("m", scheduler)
    run(scheduler)
    written.close()
    return path


def test_log_tells_what_placement_saw_and_no_secrets(log: Path) -> None:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    choices = [line for line in lines if line["event"] == "choice"]
    answers = [line for line in lines if line["event"] == "first_byte"]
    assert (len(choices), len(answers)) == (300, 300)
    assert len(choices[5]["candidates"]) == 3
    assert choices[20]["candidates"][0]["kv_total"] == 10_000
    assert "secret" not in log.read_text()


def test_same_profile_makes_the_same_decisions(log: Path) -> None:
    report = replay(read(log), "round-robin", {})
    assert (report.decisions, report.compared) == (300, 300)
    assert report.same == 300
    assert report.recorded.cached == report.replayed.cached


def test_other_profile_is_compared(log: Path) -> None:
    report = replay(read(log), "latency", {})
    assert 0 < report.same < report.compared
    assert sum(report.replayed.cached) >= sum(report.recorded.cached)
    assert sum(report.replayed.expected) < sum(report.recorded.expected)


def test_report_is_a_table(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(log, ["prefix", "least-work"], {})
    shown = capsys.readouterr().out
    assert "300 decisions, 300 of them between several workers." in shown
    for name in ("as recorded", "prefix", "least-work"):
        assert name in shown


@pytest.mark.parametrize(("text", "told"), [(b"{}\n", "line 1: is not of a decision log"), (None, "cannot be read")])
def test_wrong_log_is_told(tmp_path: Path, text: bytes | None, told: str) -> None:
    path = tmp_path / "log"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ConfigError, match=told):
        replay(read(path), "prefix", {})


def test_log_ends_at_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "log"
    scheduler = profiles.build("round-robin", {}, random.Random(0))
    written = DecisionLog(path, limit=50_000)
    written.attach("m", scheduler)
    for _ in range(10):
        run(scheduler, 50)
        written.flush()
    assert 50_000 <= path.stat().st_size < 150_000
    written.close()


def test_full_disk_ends_the_log_and_not_the_router(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = profiles.build("round-robin", {}, random.Random(0))
    written = DecisionLog(Path("/dev/full"))
    written.attach("m", scheduler)
    run(scheduler, 20)
    written.flush()
    run(scheduler, 20)
    written.close()
    assert [record.getMessage() for record in caplog.records] == ["the decision log ends"]

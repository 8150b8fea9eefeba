"""When a worker is suspect."""

from __future__ import annotations

import pytest

from headrace.errors import WireError
from headrace.router.health.progress import BLIND, FAILURES, PATIENCE, SOONER, silence, suspects
from headrace.router.worker import State, Worker
from tests.router.fleet import ready, tell, ticket

NOW = 5000.0


class Stream:
    """An attempt as health sees it."""

    def __init__(self, last_event: float = 0.0, *, paused: bool = False) -> None:
        self.last_event = last_event
        self.paused = paused
        self.failed: WireError | None = None

    def fail(self, error: WireError) -> None:
        self.failed = error


def busy(worker: Worker, silent: float, *streams: Stream) -> Worker:
    """``worker`` has work and gave no sign for so long."""
    tell(worker, iterations=7)
    worker.begin(ticket())
    worker.progress_at = NOW - silent
    worker.attempts.update(streams)
    return worker


def test_idle_is_not_silent() -> None:
    [worker] = ready(1)
    worker.progress_at = 0
    assert silence(worker, NOW) == 0
    assert suspects([worker], NOW) == {}
    busy(worker, 0)
    worker.progress_at = NOW
    assert silence(worker, NOW + 3) == 3  # counted from the moment in which there was something to do


@pytest.mark.parametrize(("silent", "found"), [(PATIENCE - 1, False), (PATIENCE + 1, True)])
def test_silence_is_suspect_after_a_while(silent: float, found: bool) -> None:
    [worker] = ready(1)
    busy(worker, silent)
    assert (worker in suspects([worker], NOW)) is found


def test_it_is_suspect_sooner_while_its_peers_get_on() -> None:
    stuck, first, second = ready(3)
    busy(stuck, SOONER + 1)
    busy(first, 0.5)
    busy(second, 1.0)
    assert list(suspects([stuck, first, second], NOW)) == [stuck]


def test_where_all_are_slow_it_is_the_load() -> None:
    workers = [busy(worker, SOONER + 5) for worker in ready(3)]
    assert suspects(workers, NOW) == {}


def test_idle_peers_prove_nothing() -> None:
    stuck, idle = ready(2)
    busy(stuck, SOONER + 1)
    assert suspects([stuck, idle], NOW) == {}


def test_engine_that_cannot_show_its_progress_gets_more_time() -> None:
    blind, peer = ready(2)
    for worker, silent in ((blind, PATIENCE + 1), (peer, 0.0)):
        busy(worker, silent)
    tell(blind)
    assert suspects([blind, peer], NOW) == {}
    blind.attempts.add(Stream(NOW - PATIENCE - 1))  # it could have gone on with this one
    assert list(suspects([blind, peer], NOW)) == [blind]
    blind.attempts.clear()
    blind.progress_at = NOW - BLIND - 1
    assert list(suspects([blind, peer], NOW)) == [blind]


def test_engine_that_froze_before_its_first_step_is_asked_once_it_is_down() -> None:
    frozen, peer = ready(2)
    busy(frozen, SOONER + 1, Stream())
    tell(frozen, iterations=0)
    busy(peer, 0, Stream(NOW))
    assert suspects([frozen, peer], NOW) == {}
    frozen.turn(State.DOWN, "it does not answer /readyz")
    assert list(suspects([frozen, peer], NOW)) == [frozen]


def test_event_of_any_stream_is_a_sign() -> None:
    [worker] = ready(1)
    busy(worker, 100, Stream(NOW - 50), Stream(NOW - 5), Stream())
    assert silence(worker, NOW) == 5


def test_stream_whose_client_is_slow_never_counts() -> None:
    [worker] = ready(1)
    busy(worker, 100, Stream(NOW - 90, paused=True))
    assert silence(worker, NOW) == 0
    worker.attempts.add(Stream(NOW - 90))
    assert silence(worker, NOW + PATIENCE + 1) > PATIENCE  # beside it one that is read


def test_failures_in_a_row_are_suspect() -> None:
    [worker] = ready(1)
    worker.failures = FAILURES - 1
    assert suspects([worker], NOW) == {}
    worker.failures = FAILURES
    assert "failed in a row" in suspects([worker], NOW)[worker]


def test_in_doubt_it_gets_nothing_whatever_it_says() -> None:
    [worker] = ready(1)
    worker.suspect(State.SUSPECT, "silent")
    assert not worker.accepts("m")
    assert not worker.turn(State.READY)
    tell(worker, running=1)
    assert (worker.state, worker.reason) == (State.SUSPECT, "silent")
    worker.turn(State.DRAINING, "draining")
    worker.suspect(State.QUARANTINED, "silent")
    assert worker.state is State.DRAINING
    worker.clear(NOW)
    assert worker.state is State.DRAINING
    worker.turn(State.READY)
    assert worker.accepts("m")

"""Health is progress: whether a worker that has work gets on with it.

A sign of progress is a step of the engine's own counter (``iterations``), an event of one of our streams, or an answer.
A worker with work of ours and no sign for ``PATIENCE`` seconds is suspect; after ``SOONER`` seconds already if most of
its busy peers got on in the last ``RECENT`` seconds, since then it is not the load that is to blame. Idle is not
silent, and a stream that we do not read because its client is slow says nothing about the worker. Nor does a 4xx.

An engine without a step counter whose requests do not stream, or have not begun to, cannot show that it works: it
gets ``BLIND`` seconds, and its peers prove nothing. Unless it is down: what does not answer looks either gets no more
time than others, even if it froze before its first step.

Also suspect is a worker that answered ``FAILURES`` requests in a row with a 5xx (but 503) without finishing one.

To be suspect is no verdict: the monitor asks the worker itself (``monitor``).
"""

from __future__ import annotations

from collections.abc import Collection

from headrace.router.worker import State, Worker

PATIENCE = 30.0
SOONER = 10.0
BLIND = 300.0
RECENT = 2.0
FAILURES = 5


def silence(worker: Worker, now: float) -> float:
    """Seconds without a sign of progress; 0 for a worker that has nothing of ours to do."""
    attempts = worker.attempts
    if not worker.in_flight or (attempts and all(attempt.paused for attempt in attempts)):
        worker.progress_at = now
    elif now - worker.progress_at > RECENT:
        worker.progress_at = max([worker.progress_at, *(attempt.last_event for attempt in attempts)])
    return now - worker.progress_at


def suspects(members: Collection[Worker], now: float) -> dict[Worker, str]:
    """The workers of one pool that should be asked, and why."""
    silences = {worker: silence(worker, now) for worker in members if worker.in_flight}
    advancing = sum(silent <= RECENT for silent in silences.values())
    found = {}
    peers = len(silences) - 1
    for worker, silent in silences.items():
        if silent > _patience(worker, advancing > 0 and advancing * 2 >= peers):
            found[worker] = f"no progress for {silent:.0f} s with {worker.in_flight} requests"
    for worker in members:
        if worker.failures >= FAILURES:
            found.setdefault(worker, f"{worker.failures} requests failed in a row")
    return found


def _patience(worker: Worker, peers_advance: bool) -> float:
    """How long its silence means nothing."""
    seen = worker.load.iterations or any(attempt.last_event for attempt in worker.attempts)
    if not seen and worker.state is not State.DOWN:
        return BLIND
    return SOONER if peers_advance else PATIENCE

"""A host for the placement rules of other routers: they see what these routers see, and send every request on at once.

They are given better than they publish: they know of a dead worker at the moment in which it dies, try a request that
had no token yet once more elsewhere without a pause, and read metrics that are 50 ms old at most. Like the originals
they cannot go on with a stream that broke.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from headrace.simulate.engine import Engine
from headrace.simulate.request import Request
from headrace.simulate.timeline import Timeline

_SCRAPE = 0.05
"""Seconds that the metrics are old at most: llm-d's interval."""
_TRIES = 5


class Seen:
    """A worker as such a router sees it."""

    def __init__(self, engine: Engine, timeline: Timeline) -> None:
        self.engine = engine
        self.in_flight = 0
        """Requests of this router that it has."""
        self._timeline = timeline
        self._scraped = -1.0
        self._waiting = 0
        self._kv_usage = 0.0

    @property
    def waiting(self) -> int:
        """Requests that wait in the engine, by its metrics."""
        self._scrape()
        return self._waiting

    @property
    def kv_usage(self) -> float:
        """0 to 1, by its metrics."""
        self._scrape()
        return self._kv_usage

    def _scrape(self) -> None:
        if self._timeline.now - self._scraped > _SCRAPE or self._scraped < 0:
            self._scraped = self._timeline.now
            self._waiting, self._kv_usage = self.engine.waiting, self.engine.kv_usage


class Rule(Protocol):
    """How a worker is chosen."""

    def choose(self, request: Request, workers: Sequence[Seen]) -> Seen:
        """One of ``workers``, of which there is at least one."""


class Rival:
    """One replica. A ``Router``."""

    def __init__(
        self, timeline: Timeline, engines: Sequence[Engine], rule: Rule, over: Callable[[Request], None]
    ) -> None:
        self.in_flight = 0
        self.timeline = timeline
        self._rule = rule
        self._over = over
        self._all = {engine: Seen(engine, timeline) for engine in engines}
        self._alive = list(self._all.values())

    def arrive(self, request: Request) -> None:
        self.in_flight += 1
        self.send(request)

    def send(self, request: Request) -> None:
        if not self._alive or request.tries >= _TRIES:
            self.finish(request, "no worker")
            return
        chosen = self._rule.choose(request, self._alive)
        chosen.in_flight += 1
        request.tries += 1
        chosen.engine.submit(request, _Attempt(self, request, chosen))

    def crashed(self, engine: Engine) -> None:
        self._alive = [seen for seen in self._alive if seen.engine is not engine]

    def restarted(self, engine: Engine) -> None:
        self._alive.append(self._all[engine])

    def finish(self, request: Request, failed: str = "") -> None:
        self.in_flight -= 1
        request.failed = failed
        self._over(request)


class _Attempt:
    """A ``Listener``."""

    def __init__(self, router: Rival, request: Request, seen: Seen) -> None:
        self._router, self._request, self._seen = router, request, seen

    def began(self) -> None:
        self._request.first = self._router.timeline.now

    def ended(self) -> None:
        self._seen.in_flight -= 1
        self._request.finished = self._router.timeline.now
        self._router.finish(self._request)

    def lost(self) -> None:
        self._seen.in_flight -= 1
        if self._request.first <= self._router.timeline.now:
            self._router.finish(self._request, "broken stream")
        else:
            self._router.send(self._request)

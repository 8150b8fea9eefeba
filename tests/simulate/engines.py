"""An engine of round numbers, and who listens to it."""

from __future__ import annotations

from headrace.simulate.constants import Constants
from headrace.simulate.engine import Engine
from headrace.simulate.request import Request
from headrace.simulate.text import Text
from headrace.simulate.timeline import Timeline

ROUND = Constants(
    name="round",
    measured=False,
    source="made up",
    step=1.0,
    prefill=0.01,
    sequence=0.1,
    context=0.001,
    chunk=256,
    max_running=4,
    kv_tokens=4096,
    slo_first=10.0,
    slo_token=5.0,
)


def request(name: str, prompt: int, output: int, *, begins: Text | None = None, tenant: str = "t") -> Request:
    text = (begins or Text()).plus(name, prompt)
    return Request(tenant, text, text.plus(f"{name}!", output), output, text.tokens * 4)


class Asked:
    """Submits requests, and notes their times as ``first`` and ``finished``."""

    def __init__(self, engine: Engine, timeline: Timeline) -> None:
        self.lost: list[Request] = []
        self._engine, self._timeline = engine, timeline

    def at(self, seconds: float, request: Request, produced: int = 0) -> Request:
        request.arrived = seconds
        self._timeline.at(seconds, lambda: self._engine.submit(request, _Noted(self, request), produced))
        return request

    def now(self) -> float:
        return self._timeline.now


class _Noted:
    def __init__(self, asked: Asked, request: Request) -> None:
        self._asked, self._request = asked, request

    def began(self) -> None:
        self._request.first = self._asked.now()

    def ended(self) -> None:
        self._request.finished = self._asked.now()

    def lost(self) -> None:
        self._asked.lost.append(self._request)

"""Least request: the worker with the fewest of this router's requests, as nginx's ``least_conn`` of equal weights
(ngx_http_upstream_least_conn_module), which takes those that are equal in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.simulate.request import Request
from headrace.simulate.routers.rival import Seen


class LeastRequest:
    """A ``Rule``."""

    def __init__(self) -> None:
        self._turn = 0

    def choose(self, request: Request, workers: Sequence[Seen]) -> Seen:
        least = min([worker.in_flight for worker in workers])
        equal = [worker for worker in workers if worker.in_flight == least]
        self._turn += 1
        return equal[self._turn % len(equal)]

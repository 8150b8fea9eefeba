"""The workers that may take a request now."""

from __future__ import annotations

from headrace.router.worker import Worker


class OpenWorkers:
    """A set that is also a list: O(1) to add and remove, and the list can be sampled and walked as it is."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        """In no order. Not to be changed by the reader."""
        self._places: dict[Worker, int] = {}

    def set(self, worker: Worker, is_open: bool) -> None:
        place = self._places.get(worker)
        if is_open == (place is not None):
            return
        if place is None:
            self._places[worker] = len(self.workers)
            self.workers.append(worker)
            return
        del self._places[worker]
        last = self.workers.pop()
        if last is not worker:
            self.workers[place] = last
            self._places[last] = place

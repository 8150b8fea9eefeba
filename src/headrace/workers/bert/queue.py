"""Which rows the next batch takes: rows of calls, in length buckets, by fair deadlines.

A row is one input, a call one request with its rows. The queue is of rows, so a call with one input and a call with
2,048 meet on equal terms: each row carries a virtual deadline, the work of its call up to and including itself, counted
from the work that the queue had done when the call came (self-clocked fair queueing, Golestani 1994). The first row
of a new call is therefore never behind the bulk of an older one, and no row waits for ever, since every batch moves
the clock.

The batch starts with the earliest deadline of all and is filled up with rows of its own length and a little below, so
that it is hardly padded.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Generic, TypeVar

STEP = 8
"""Widths are multiples of this many tokens."""
_NARROWEST = 0.75
"""Rows of less than this share of the batch's width wait for a batch of their own length."""


class Flow:
    """What the queue knows of a call: the deadline of its last row."""

    __slots__ = ("deadline",)

    def __init__(self) -> None:
        self.deadline = 0.0


F = TypeVar("F", bound=Flow)


@dataclass(order=True, slots=True)
class Row(Generic[F]):
    """One input of a call; rows are ordered by deadline, in tokens of virtual work."""

    deadline: float
    order: int
    flow: F = field(compare=False)
    index: int = field(compare=False)
    """Its place in the call."""
    ids: list[int] = field(compare=False)


def padded(tokens: int) -> int:
    """The width that a row of ``tokens`` needs."""
    return -(-tokens // STEP) * STEP


class RowQueue(Generic[F]):
    """The rows that wait. ``len`` counts them, ``tokens`` is their sum without padding."""

    def __init__(self) -> None:
        self.tokens = 0
        self._buckets: dict[int, list[Row[F]]] = {}
        self._length = 0
        self._clock = 0.0
        self._order = 0

    def __len__(self) -> int:
        return self._length

    def put(self, flow: F, index: int, ids: list[int]) -> None:
        """Add a row of at least one token; the rows of a call come in their order."""
        width = padded(len(ids))
        flow.deadline = max(flow.deadline, self._clock) + width
        self._order += 1
        heapq.heappush(self._buckets.setdefault(width, []), Row(flow.deadline, self._order, flow, index, ids))
        self._length += 1
        self.tokens += len(ids)

    def take(self, budget: int) -> list[Row[F]]:
        """The next batch: at most ``budget`` tokens with padding, but at least one row. Empty if none waits."""
        if not self._length:
            return []
        widest = min(self._buckets, key=lambda width: self._buckets[width][0])
        self._clock = max(self._clock, self._buckets[widest][0].deadline)
        room = max(1, budget // widest)
        rows: list[Row[F]] = []
        for width in range(widest, int(widest * _NARROWEST) - 1, -STEP):
            rows += self._pop(width, room - len(rows))
        self._length -= len(rows)
        self.tokens -= sum(len(row.ids) for row in rows)
        return rows

    def drop(self, flow: F) -> int:
        """Remove the rows of a call that nobody waits for any more; says how many there were."""
        dropped = 0
        for width, bucket in list(self._buckets.items()):
            kept = [row for row in bucket if row.flow is not flow]
            if len(kept) == len(bucket):
                continue
            dropped += len(bucket) - len(kept)
            self.tokens -= sum(len(row.ids) for row in bucket if row.flow is flow)
            heapq.heapify(kept)
            self._replace(width, kept)
        self._length -= dropped
        return dropped

    def _pop(self, width: int, count: int) -> list[Row[F]]:
        bucket = self._buckets.get(width)
        if bucket is None or count <= 0:
            return []
        rows = [heapq.heappop(bucket) for _ in range(min(count, len(bucket)))]
        self._replace(width, bucket)
        return rows

    def _replace(self, width: int, bucket: list[Row[F]]) -> None:
        if bucket:
            self._buckets[width] = bucket
        else:
            self._buckets.pop(width, None)

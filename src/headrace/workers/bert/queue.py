"""Which rows the next batch takes: rows of calls, in length buckets, by fair deadlines.

A row is one input, a call one request with its rows. The queue is of rows, so a call with one input and a call with
2,048 meet on equal terms: each row carries a virtual deadline, the work of its call before it, counted from where the
queue was when the call came (start-time fair queueing: Goyal, Vin and Cheng 1996). The first row of a new call is due
at once, however much of older calls waits. So that a stream of new calls starves nobody, every fourth batch starts with
the row that has waited longest.

The batch is filled up with rows as long as its first one or a little shorter, so that it is hardly padded.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Generic, TypeVar

STEP = 8
"""Widths are multiples of this many tokens."""
_OLDEST_TURN = 4
"""Of so many batches, one starts with the oldest row."""
NARROWEST, NARROWEST_PACKED = 0.75, 0.5
"""Rows of less than this share of the batch's width wait for a batch of their own length. The second is for a backend
that packs tokens, where padding costs little."""


class Flow:
    """What the queue knows of a call: the deadline that its next row will have, in tokens of virtual work."""

    __slots__ = ("deadline",)

    def __init__(self) -> None:
        self.deadline = 0


F = TypeVar("F", bound=Flow)


@dataclass(order=True, slots=True)
class Row(Generic[F]):
    """One input of a call; rows are ordered by deadline."""

    deadline: int
    index: int
    """Its place in the call; where deadlines are equal, the call that got less so far goes first."""
    order: int
    """Counts the rows as they came."""
    flow: F = field(compare=False)
    ids: list[int] = field(compare=False)
    second: int = field(compare=False)
    """Where its second text begins; its length where it has none."""


def padded(tokens: int) -> int:
    """The width that a row of ``tokens`` needs."""
    return -(-tokens // STEP) * STEP


class RowQueue(Generic[F]):
    """The rows that wait. ``len`` counts them, ``tokens`` is their sum without padding."""

    def __init__(self, narrowest: float = NARROWEST) -> None:
        """``narrowest``: rows of less than this share of a batch's width wait for one of their own length."""
        self.tokens = 0
        self._narrowest = narrowest
        self._buckets: dict[int, list[Row[F]]] = {}
        self._length = 0
        self._clock = 0
        self._order = 0
        self._turn = 0

    def __len__(self) -> int:
        return self._length

    def put(self, flow: F, index: int, ids: list[int], second: int | None = None) -> None:
        """Add a row of at least one token; the rows of a call come in their order."""
        width = padded(len(ids))
        deadline = max(flow.deadline, self._clock)
        flow.deadline = deadline + width
        self._order += 1
        row = Row(deadline, index, self._order, flow, ids, len(ids) if second is None else second)
        heapq.heappush(self._buckets.setdefault(width, []), row)
        self._length += 1
        self.tokens += len(ids)

    def take(self, budget: int) -> list[Row[F]]:
        """The next batch: at most ``budget`` tokens with padding, but at least one row. Empty if none waits."""
        if not self._length:
            return []
        first = self._first()
        widest = padded(len(first.ids))
        room = max(1, budget // widest)
        rows = [first]
        for width in range(widest, int(widest * self._narrowest) - 1, -STEP):
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

    def _first(self) -> Row[F]:
        self._turn = (self._turn + 1) % _OLDEST_TURN
        if self._turn:
            width = min(self._buckets, key=lambda width: self._buckets[width][0])
            row = heapq.heappop(self._buckets[width])
            self._clock = max(self._clock, row.deadline)
        else:
            row = min((row for bucket in self._buckets.values() for row in bucket), key=lambda row: row.order)
            width = padded(len(row.ids))
            self._buckets[width].remove(row)
            heapq.heapify(self._buckets[width])
        self._replace(width, self._buckets[width])
        return row

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

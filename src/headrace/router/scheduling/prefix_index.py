"""Which worker has computed the beginning of a prompt: an approximate index over the ``x-headrace-prefix`` header.

The header's hashes are chained, so that one of them stands for everything up to its block's end (design, section 4).
For each hash the index holds the workers that got a prompt with it, as the bits of one integer; a look-up walks the
prompt's hashes until no worker is left, and so finds for every worker how much of the prompt it has, at once for all.

Not every block is stored: of a prompt of n blocks the last one, and those at depths that grow by about √2 (1, 2, 3, 4,
6, 8, 11, 16, …). The next turn of a conversation begins with all of the one before, so its last block is met exactly;
what two prompts share in between is found up to √2. This takes a fifth to a tenth of the memory and the time. Where a
prompt is the second with a beginning, the blocks between the last depth that is known and the next are stored too: the
third one learns exactly where they part.

Bounded: each worker has its own least-recently-used order over the entries it is in, as large as its share of the
capacity, or as its KV cache where it tells that. The deep end of a chain is always dropped before its beginning.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate

from headrace.router.ticket import Matches
from headrace.router.worker import Worker

_HEX = 16
_ENDS = tuple(accumulate(size for size in (256, 1024, 4096, 16384) for _ in range(64)))
"""Bytes of the prompt up to each block's end."""
_GRID = (0, 1, 2, 3, 5, 7, 10, 15, 21, 31, 44, 63, 89, 127, 180)
_STOPS = frozenset(_GRID)
_NEXT = tuple(min((stop for stop in _GRID if stop > depth), default=len(_ENDS)) for depth in range(len(_ENDS)))
"""For each depth the next that is stored of every prompt."""


def _stored(count: int) -> tuple[tuple[int, int], ...]:
    """The depths that are stored of a prompt of so many blocks, and the bytes that each covers beyond the one before.

    The deepest first: it is the first to be dropped.
    """
    depths = sorted({depth for depth in _GRID if depth < count} | {count - 1}) if count else []
    starts = [0, *(_ENDS[depth] for depth in depths)]
    return tuple((depth, _ENDS[depth] - start) for depth, start in zip(depths, starts, strict=False))[::-1]


_STORED = tuple(_stored(count) for count in range(len(_ENDS) + 1))

CAPACITY = 262_144
"""Pairs of an entry and a worker, for all workers of a pool: about 60 MiB."""
_LEAST = 512
"""Entries of one worker, however many workers share the capacity."""
_BYTES_PER_TOKEN = 4
"""To compare a prompt's bytes with a KV cache's tokens."""


def cut(prefix: bytes) -> list[bytes]:
    """The hashes of a prompt's blocks, out of the header."""
    return [prefix[start : start + _HEX] for start in range(0, min(len(prefix) // _HEX, len(_ENDS)) * _HEX, _HEX)]


class _Recent:
    """What one worker has, the least recently used first."""

    __slots__ = ("bit", "entries", "size")

    def __init__(self, bit: int) -> None:
        self.bit = bit
        """The worker's, as a mask."""
        self.entries: OrderedDict[bytes, int] = OrderedDict()
        """Each with the bytes that it covers."""
        self.size = 0
        """Their sum."""


class PrefixIndex:
    """The index of one pool."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        """``capacity``: pairs of an entry and a worker."""
        self._capacity = capacity
        self._holders: dict[bytes, int] = {}
        self._recent: dict[Worker, _Recent] = {}
        self._numbers: dict[int, Worker] = {}
        """The workers by the number of their bit."""
        self._free: list[int] = []

    def __len__(self) -> int:
        """Pairs of an entry and a worker."""
        return sum(len(recent.entries) for recent in self._recent.values())

    def match(self, keys: Sequence[bytes]) -> Matches:
        """Who has how much of the prompt: sets of workers and shares from 0 to 1, the largest share first.

        ``keys`` must not be empty.
        """
        find = self._holders.get
        first = find(keys[0])
        if first is None:
            return []
        if first == find(keys[-1]):  # and so has everybody between
            return [(first, 1.0)]
        found: Matches = []
        known = 0
        for depth, key in enumerate(keys):
            mask = find(key)
            if mask is None:
                if depth in _STOPS:  # who had more would have this too
                    break
            elif mask == known:
                found[0] = (mask, _ENDS[depth] / _ENDS[len(keys) - 1])
            else:
                found.insert(0, (mask, _ENDS[depth] / _ENDS[len(keys) - 1]))
                known = mask
        return found

    def cached(self, matches: Matches, worker: Worker) -> float:
        """The share of the prompt that ``worker`` has."""
        recent = self._recent.get(worker)
        if recent is not None:
            for mask, share in matches:
                if mask & recent.bit:
                    return share
        return 0.0

    def holders(self, matches: Matches, limit: int) -> list[Worker]:
        """The workers that have the most of the prompt."""
        found: dict[Worker, None] = {}
        for mask, _ in matches:
            left = mask
            while left and len(found) < limit:
                low = left & -left
                found[self._numbers[low.bit_length() - 1]] = None
                left ^= low
        return list(found)

    def add(self, keys: Sequence[bytes], worker: Worker) -> None:
        """``worker`` gets the prompt."""
        recent = self._recent.get(worker) or self._enter(worker)
        entries, holders = recent.entries, self._holders
        grown = False
        known = -1
        for depth, covered in _STORED[len(keys)]:
            key = keys[depth]
            if key in entries:
                entries.move_to_end(key)
                known = max(known, depth)
            else:
                entries[key] = covered
                recent.size += covered
                mask = holders.get(key, 0)
                holders[key] = mask | recent.bit
                grown = True
                if mask and depth > known:
                    known = depth
        if grown:
            if known >= 0:
                self._part(keys, known, recent)
            self._shrink(worker, recent)

    def _part(self, keys: Sequence[bytes], known: int, recent: _Recent) -> None:
        """Store where the prompt parts from one that is known up to that depth: what is known of the blocks after it.

        Where nothing is, as of the second prompt with a beginning, all of them up to the next depth.
        """
        between = keys[known + 1 : min(_NEXT[known], len(keys) - 1)]
        holders, entries = self._holders, recent.entries
        for key in reversed([key for key in between if key in holders] or between):
            if key not in entries:
                entries[key] = 0
                holders[key] = holders.get(key, 0) | recent.bit

    def forget(self, worker: Worker) -> None:
        """Its cache is empty, or it is gone."""
        recent = self._recent.pop(worker, None)
        if recent is None:
            return
        for key in recent.entries:
            self._drop(key, recent.bit)
        number = recent.bit.bit_length() - 1
        del self._numbers[number]
        self._free.append(number)

    def _enter(self, worker: Worker) -> _Recent:
        number = self._free.pop() if self._free else len(self._numbers)
        self._numbers[number] = worker
        recent = self._recent[worker] = _Recent(1 << number)
        return recent

    def _shrink(self, worker: Worker, recent: _Recent) -> None:
        most = max(_LEAST, self._capacity // len(self._recent))
        size = worker.load.kv_total * worker.load.block_size * _BYTES_PER_TOKEN or math.inf
        entries = recent.entries
        while len(entries) > most or (recent.size > size and len(entries) > 1):
            key, covered = entries.popitem(last=False)
            recent.size -= covered
            self._drop(key, recent.bit)

    def _drop(self, key: bytes, bit: int) -> None:
        mask = self._holders[key] & ~bit
        if mask:
            self._holders[key] = mask
        else:
            del self._holders[key]

"""An engine's KV cache: what running sequences hold, and in what is left the prefixes of past ones, least recently used
first to go (as vLLM's automatic prefix caching and SGLang's RadixAttention do).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from headrace.simulate.text import BLOCK


class KvCache:
    """Counts in tokens. Whole blocks of prompts are shared between sequences; the rest is each one's own."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._pinned: dict[bytes, int] = {}
        """Blocks of running sequences, and how many hold each."""
        self._cached: OrderedDict[bytes, None] = OrderedDict()
        self._own = 0
        """Tokens that belong to one sequence each."""

    @property
    def used(self) -> int:
        """Tokens that are held and cannot be evicted."""
        return len(self._pinned) * BLOCK + self._own

    @property
    def room(self) -> int:
        """Tokens that could be taken, were all prefixes of the past evicted."""
        return self.tokens - self.used

    def cached(self, keys: Sequence[bytes]) -> int:
        """How many of the blocks are there, from the first on."""
        pinned, cached = self._pinned, self._cached
        for depth, key in enumerate(keys):
            if key not in pinned and key not in cached:
                return depth
        return len(keys)

    def take(self, keys: Sequence[bytes], own: int, margin: int = 0) -> bool:
        """Hold blocks that are there, and ``own`` tokens that are to be computed.

        False, and nothing is held, where that would leave less than ``margin`` tokens of room.
        """
        fresh = sum(key not in self._pinned for key in keys)
        if fresh * BLOCK + own + margin > self.room:
            return False
        for key in keys:
            self._cached.pop(key, None)
            self._pinned[key] = self._pinned.get(key, 0) + 1
        self.grow(own)
        return True

    def share(self, keys: Sequence[bytes]) -> None:
        """Blocks that a sequence held as its own are computed now: others find them."""
        self._own -= len(keys) * BLOCK
        for key in keys:
            self._cached.pop(key, None)
            self._pinned[key] = self._pinned.get(key, 0) + 1

    def grow(self, own: int) -> None:
        """Sequences have so many tokens more, for which there must be room."""
        self._own += own
        most = self.room // BLOCK
        while len(self._cached) > most:
            self._cached.popitem(last=False)

    def release(self, keys: Sequence[bytes], own: int, left: Sequence[bytes] = ()) -> None:
        """A sequence lets go of its blocks and tokens. ``left``: blocks of its answer, which stay as cached too.

        The deep end is the first to be evicted: what lies before it is of use without it.
        """
        self._own -= own
        cached, pinned = self._cached, self._pinned
        for key in reversed(left):
            if key not in pinned:
                cached[key] = None
                cached.move_to_end(key)
        for key in reversed(keys):
            holders = pinned[key] - 1
            if holders:
                pinned[key] = holders
            else:
                del pinned[key]
                cached[key] = None
        self.grow(0)

    def clear(self) -> None:
        self._pinned.clear()
        self._cached.clear()
        self._own = 0

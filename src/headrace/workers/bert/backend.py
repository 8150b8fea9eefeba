"""What runs the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one width; what lies beyond a row's length is never read."""

    ids: NDArray[np.int32]
    """rows × width"""
    lengths: NDArray[np.int32]
    """Tokens of each row."""
    seconds: NDArray[np.int32]
    """Where a row's second text begins; its length where it has none."""


class Backend(Protocol):
    """A loaded model. ``infer`` blocks and is called from up to ``streams`` threads at the same time."""

    streams: int
    """Batches that it runs at the same time."""
    precision: str
    """What it computes in: f32, bf16 or int8."""
    packs: bool
    """Whether padding costs it little, so that batches may mix lengths more."""
    outputs: int
    """Numbers a row: the dimensions of a vector, or the labels."""

    def infer(self, batch: Batch) -> NDArray[np.float32]:
        """Vectors, or logits: rows × outputs."""
        ...

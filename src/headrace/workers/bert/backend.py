"""What runs the network."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Backend(Protocol):
    """A loaded model. ``infer`` blocks and is called from up to ``streams`` threads at the same time."""

    streams: int
    """Batches that it runs at the same time."""
    precision: str
    """What it computes in: f32 or bf16."""

    def infer(self, ids: NDArray[np.int32], lengths: NDArray[np.int32]) -> NDArray[np.float32]:
        """Vectors (rows × dimensions) of ``ids`` (rows × width); of each row, ``lengths`` tokens count."""
        ...

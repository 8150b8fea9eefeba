"""A short text behind long ones: the latency of one at a time, alone and while others keep the server full."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.bert.server import Server

_SHORT = ["hello"]
_BULK_CLIENTS = 4
_BULK_TEXTS = 256


def short_among_bulk(server: Server, texts: Sequence[str], count: int) -> str:
    """One line; in times of the server's batch too, where it tells them."""
    alone = [_timed(server) for _ in range(count)]
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            server.embed(texts[:_BULK_TEXTS])

    with ThreadPoolExecutor(_BULK_CLIENTS) as pool:
        floods = [pool.submit(flood) for _ in range(_BULK_CLIENTS)]
        try:
            time.sleep(1)
            before = server.batches() if server.ops_port else (0.0, 0.0)
            crowded = [_timed(server) for _ in range(count)]
            after = server.batches() if server.ops_port else before
        finally:
            stop.set()
        for client in floods:
            client.result()
    told = (
        f"alone p50 {_ms(alone, 50)}, p99 {_ms(alone, 99)}; behind bulk p50 {_ms(crowded, 50)}, p99 {_ms(crowded, 99)}"
    )
    if after[1] == before[1]:
        return told
    batch = (after[0] - before[0]) / (after[1] - before[1])
    return f"{told} = {float(np.percentile(crowded, 99)) / batch:.1f} batch times of {batch * 1000:.1f}"


def _ms(seconds: list[float], percent: float) -> str:
    return f"{float(np.percentile(seconds, percent)) * 1000:.1f}"


def _timed(server: Server) -> float:
    began = time.perf_counter()
    server.embed(_SHORT)
    return time.perf_counter() - began

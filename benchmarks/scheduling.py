"""What a decision costs: microseconds of CPU for one request's admission, choice, first byte and release.

    python -m benchmarks.scheduling                       # every profile, 8, 64 and 512 workers
    python -m benchmarks.scheduling --profile latency --workers 8

One process, no network: tickets of a 1 KB prompt (four prefix blocks, 64 system prompts, 4,096 conversations) go
through a ``PoolQueue`` with half of the slots taken, as fast as they can. The figure is the best of five rounds.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import deque

from headrace.router.flow.queue import PoolQueue
from headrace.router.scheduling import profiles
from headrace.router.ticket import Ticket
from headrace.router.worker import Load, ModelLoad, State, Worker

_SLOTS = 16
_ROUNDS = 5
_REQUESTS = 4000


def measure(profile: str, count: int, blocks: int = 4, requests: int = _REQUESTS) -> float:
    """Microseconds of CPU for one request."""
    rng = random.Random(1)
    workers = [Worker(f"http://10.0.{index // 250}.{index % 250 + 1}:8000", pools=["m"]) for index in range(count)]
    for worker in workers:
        load = Load(max_running=_SLOTS, kv_total=8192, block_size=16, models=(ModelLoad("m", 8192),), epoch="1")
        worker.observe(load)
        worker.turn(State.READY)
    scheduler = profiles.build(profile, {}, rng)
    queue = PoolQueue("m", scheduler, capacity=1024, cold_wait=1, clock=time.monotonic, workers=workers)
    tickets = [_ticket(rng, blocks) for _ in range(requests)]
    running: deque[tuple[Worker, Ticket]] = deque()
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.process_time()
        for ticket in tickets:
            chosen = queue.try_admit(ticket)
            assert chosen is not None
            queue.answered(chosen, ticket, stream=True)
            running.append((chosen, ticket))
            if len(running) > count * _SLOTS // 2:
                queue.release(*running.popleft(), finished=True)
        best = min(best, time.process_time() - began)
    return best / requests * 1e6


def _ticket(rng: random.Random, blocks: int) -> Ticket:
    system, conversation = rng.randrange(64), rng.randrange(4096)
    prefix = b"%016x%016x" % (system, system + 1000) + b"".join(
        b"%016x" % (conversation * 1000 + 10_000 + depth) for depth in range(blocks - 2)
    )
    headers = {
        b"x-headrace-model": b"m",
        b"x-headrace-tenant": b"t%d" % rng.randrange(50),
        b"x-headrace-session": b"s%d" % conversation,
        b"x-headrace-cost": b"256,100",
        b"x-headrace-prefix": prefix,
    }
    return Ticket(headers, time.monotonic())


def main() -> None:
    parser = argparse.ArgumentParser(description="What a decision costs.")
    parser.add_argument("--profile", action="append", choices=sorted(profiles.PROFILES))
    parser.add_argument("--workers", action="append", type=int)
    parser.add_argument("--blocks", type=int, default=4, help="prefix blocks of each prompt")
    options = parser.parse_args()
    counts = options.workers or [1, 2, 8, 64, 512]
    print(f"{'profile':14}" + "".join(f"{count:>9}" for count in counts) + "   workers")
    for profile in options.profile or profiles.PROFILES:
        figures = [measure(profile, count, options.blocks) for count in counts]
        print(f"{profile:14}" + "".join(f"{figure:9.1f}" for figure in figures) + "   µs a request")


if __name__ == "__main__":
    main()

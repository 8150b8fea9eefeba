"""Workers and tickets without a network: what flow and scheduling need to be tested in a clock of their own."""

from __future__ import annotations

from typing import Any

from headrace.router.ticket import Ticket
from headrace.router.worker import Load, ModelLoad, State, Worker


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def ready(count: int, *, slots: int = 8, pools: tuple[str, ...] = ("m",), **load: Any) -> list[Worker]:
    """``count`` workers that serve ``pools``."""
    workers = [Worker(f"http://10.0.{number // 250}.{number % 250 + 1}:8000", pools=pools) for number in range(count)]
    for worker in workers:
        tell(worker, max_running=slots, **load)
        worker.turn(State.READY)
    return workers


def tell(worker: Worker, **load: Any) -> None:
    """The worker says this of itself."""
    models = tuple(ModelLoad(pool, adapters=load.pop("adapters", ())) for pool in sorted(worker.pools))
    worker.observe(Load(models=models, **{"epoch": "1", **load}))


def ticket(now: float = 1000.0, *, pool: str = "m", seconds: float = 60, **headers: str) -> Ticket:
    """A request; ``tenant="a"``, ``cost="10,5"``, … are headers of the contract."""
    fields = {"model": pool, "cost": "10,5", "deadline-ms": str(int(seconds * 1000)), **headers}
    return Ticket({f"x-headrace-{name}".encode(): value.encode() for name, value in fields.items()}, now)


def prefix(*blocks: int) -> str:
    """The header for a prompt whose blocks are these: equal beginnings have equal hashes."""
    digests = []
    chained = 0
    for block in blocks:
        chained = (chained * 1_000_003 + block + 1) % 2**64
        digests.append(f"{chained:016x}")
    return "".join(digests)

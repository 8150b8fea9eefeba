"""``python -m tests.chaos.shim SETTING… -- ARGUMENTS…`` is ``headrace ARGUMENTS…`` in a changed world.

``clock=FILE``: the wall clock goes wrong by as many seconds as the file says. The others break one property each on
purpose, so that the judge can be seen to notice (``tests/chaos/test_sabotage.py``).
"""

from __future__ import annotations

import itertools
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def clock(file: str) -> None:
    true, path, known = time.time, Path(file), [(-1, 0.0)]

    def wrong() -> float:
        changed = path.stat().st_mtime_ns
        if changed != known[0][0]:
            known[0] = (changed, float(path.read_text(encoding="ascii") or 0))
        return true() + known[0][1]

    time.time = wrong


def _every(count: int) -> Callable[[], bool]:
    numbers = itertools.count(1)
    return lambda: next(numbers) % count == 0


def lose_request() -> None:
    """Cut every twentieth connection instead of answering."""
    from headrace.wire.connection import ServerConnection

    begin, hit = ServerConnection._begin, _every(20)

    def wrong(self: ServerConnection, request: Any) -> None:
        self.cut() if hit() else begin(self, request)

    ServerConnection._begin = wrong  # type: ignore[method-assign]


def repeat_events() -> None:
    """Send every fiftieth piece of a stream twice."""
    from headrace.wire.relay import Relay

    take, hit = Relay.on_data, _every(50)

    def wrong(self: Relay, payload: bytes, framed: bytes | None) -> None:
        take(self, payload, framed)
        if hit() and b"content" in payload and payload.endswith(b"\n\n"):
            take(self, payload, framed)

    Relay.on_data = wrong  # type: ignore[method-assign]


def end_silently() -> None:
    """Take a broken stream for a complete one, and say nothing."""
    from headrace.wire.relay import Relay

    def wrong(self: Relay, error: Any) -> None:
        self._finish(None)

    Relay.on_lost = wrong  # type: ignore[method-assign]


def bill_twice() -> None:
    from headrace.api.ledger import Ledger

    book, hit = Ledger.book, _every(10)

    def wrong(self: Ledger, record: Any, status: int) -> None:
        book(self, record, status)
        if hit():
            record.id += "x"
            book(self, record, status)

    Ledger.book = wrong  # type: ignore[method-assign]


def forget_usage() -> None:
    from headrace.api.ledger import Ledger

    book, hit = Ledger.book, _every(10)

    def wrong(self: Ledger, record: Any, status: int) -> None:
        if not hit():
            book(self, record, status)

    Ledger.book = wrong  # type: ignore[method-assign]


def leak_counter() -> None:
    """Do not take back every twentieth request that a worker had."""
    from headrace.router.worker import Worker

    end, hit = Worker.end, _every(20)

    def wrong(self: Worker, ticket: Any) -> None:
        end(self, ticket)
        self.in_flight += hit()

    Worker.end = wrong  # type: ignore[method-assign]


def keep_memory() -> None:
    """A MiB of each request."""
    from headrace.wire.connection import ServerConnection

    begin, kept = ServerConnection._begin, list[bytes]()

    def wrong(self: ServerConnection, request: Any) -> None:
        kept.append(b"x" * (1 << 20))
        begin(self, request)

    ServerConnection._begin = wrong  # type: ignore[method-assign]


SABOTAGE = (lose_request, repeat_events, end_silently, bill_twice, forget_usage, leak_counter, keep_memory)


def main() -> None:
    split = sys.argv.index("--")
    for setting in sys.argv[1:split]:
        name, _, value = setting.partition("=")
        if name == "clock":
            clock(value)
        else:
            next(sabotage for sabotage in SABOTAGE if sabotage.__name__ == name)()
    sys.argv = ["headrace", *sys.argv[split + 1 :]]
    runpy.run_module("headrace", run_name="__main__")


if __name__ == "__main__":
    main()

"""What was used, and by whom: written down before a request's last byte, carried to the database behind its back.

``book`` and ``write`` append lines to the spool, which outlives this process. A second later, off the request path,
the lines go to the database in batches; a line that is sent twice counts once. While the database is away they wait on
the disk.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import TypeVar

import msgspec

from headrace.api.record import Record
from headrace.errors import StoreError
from headrace.store.limits.limiter import Spent
from headrace.store.spool import Segment, Spool
from headrace.store.usage import UsageRecord, UsageStore

_SEGMENT_BYTES = 4 * 1024 * 1024
"""While the database is away a segment is ended at this size, else each second."""
_LINES = 1_000
"""That are read and sent in one go."""
_ADOPT_SECONDS = 10.0
_EXPIRE_SECONDS = 3600.0

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Ledger:
    """Belongs to one event loop; the disk and the database are used in two threads of its own."""

    def __init__(self, spool: Spool, store: UsageStore, *, interval: float = 1.0) -> None:
        """``interval`` (seconds) lies between two rounds, and between two times that lines are forced to the disk."""
        self.spool = spool
        self.booked = 0
        self.refused = 0
        """Lines that were damaged, too old, or that the database did not take."""
        self.unsynced = 0
        """Times that lines could not be forced to the disk."""
        self.failing = False
        """Whether lines wait because the database does not answer."""
        self._store = store
        self._interval = interval
        self._lines: list[bytes] = []
        """That are noted, and not written down."""
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(UsageRecord).decode
        self._threads = ThreadPoolExecutor(2, "ledger")
        self._complete: list[Segment] = []
        self._swapping = asyncio.Lock()
        self._carrying = threading.Lock()  # held by a thread, which a cancelled task leaves behind
        self._synced: tuple[Segment, int] = (spool.active, 0)
        self._adopted = self._expired = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []

    def book(self, record: Record, status: int) -> None:
        """Note one request that was sent on. It is safe only after ``write``, before which its last byte may not leave.

        Never fails and never waits, and neither does ``write``.
        """
        line = self._encode(
            (
                record.id,
                time.time(),
                record.tenant,
                record.key,
                record.model,
                record.path,
                status,
                record.prompt_tokens,
                record.cached_tokens,
                record.completion_tokens,
                record.estimated,
            )
        )
        self._lines.append(line + b"\n")
        self.booked += 1

    def write(self) -> None:
        """Write down what was noted: one call of the system for all requests that ended in a turn of the loop."""
        if self._lines:
            data, self._lines = b"".join(self._lines), []
            self.spool.append(data)

    @property
    def lag(self) -> float:
        """Seconds for which the oldest line has been waiting; 0 if none is."""
        oldest = min((segment.created for segment in self._complete), default=0.0)
        if not oldest and self.spool.active.size:
            oldest = self.spool.active.created
        return max(0.0, time.time() - oldest) if oldest else 0.0

    async def start(self, patience: float = 6.0) -> None:
        """Carry over what an earlier process left, for at most ``patience`` seconds, and go on in the background."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.flush(), patience)
        self._tasks = [asyncio.create_task(self._forever(job)) for job in (self._round, self._sync)]

    async def flush(self) -> bool:
        """Carry over everything that was booked before this call. False where the database does not answer."""
        fresh = await self._in_thread(self.spool.prepare)
        async with self._swapping:
            self.write()
            self._complete.append(self.spool.swap(fresh))
        return await self._in_thread(self._carry)

    async def spent(self) -> list[Spent]:
        """What each key and tenant has used this day and month, with all that was booked here. Raises StoreError."""
        if not await self.flush():
            raise StoreError("the ledger's database does not answer")
        return await self._in_thread(self._store.spent)

    async def close(self) -> None:
        """Carry over what waits, if the database answers at once; else the next process does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(TimeoutError, OSError):
            await asyncio.wait_for(self.flush(), 2.0)
        self._threads.shutdown(wait=False)
        self.write()
        self.spool.close()

    async def _round(self) -> None:
        if self.spool.active.size > (_SEGMENT_BYTES if self.failing else 0):
            await self.flush()
        else:
            await self._in_thread(self._carry)

    async def _sync(self) -> None:
        """Force to the disk what came since the last time: what a power cut may cost."""
        async with self._swapping:
            active = self.spool.active
            state = (active, active.size)
            if state != self._synced:
                await self._in_thread(active.sync)
                self._synced = state

    def _carry(self) -> bool:
        """Send the complete segments and remove them. In a thread."""
        with self._carrying:
            return self._carry_all(time.monotonic())

    def _carry_all(self, now: float) -> bool:
        if now >= self._adopted + _ADOPT_SECONDS:
            self._adopted = now
            self._complete += self.spool.adopt()
        try:
            while self._complete:
                segment = self._complete[0]
                segment.sync()
                self.refused += self._send(segment)
                del self._complete[0]
                segment.remove()
            if now >= self._expired + _EXPIRE_SECONDS:
                self._store.expire()
                self._expired = now
        except StoreError as error:
            if not self.failing:
                _log.warning("the ledger's database does not answer; usage waits", extra={"reason": str(error)})
            self.failing = True
            return False
        finally:
            self.spool.measure()
        if self.failing:
            _log.info("the ledger's database answers; no usage waits")
        self.failing = False
        return True

    def _send(self, segment: Segment) -> int:
        """How many lines were refused. A few are held at a time, however many an outage left behind."""
        refused, lines = 0, segment.lines()
        while some := list(islice(lines, _LINES)):
            refused += self._add(some)
        if refused:
            _log.error("lines of the ledger were refused", extra={"lines": refused, "segment": segment.path.name})
        return refused

    def _add(self, lines: list[bytes]) -> int:
        """As ``_send``."""
        records: list[UsageRecord] = []
        for line in lines:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                records.append(self._decode(line))
        return len(lines) - len(records) + self._store.add(records)

    async def _forever(self, job: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await job()
            except OSError as error:
                self.unsynced += 1
                _log.error("the spool's disk fails", extra={"reason": str(error)})
            except Exception:  # noqa: BLE001  a defect must not end the rounds, or usage would pile up for ever
                _log.exception("carrying usage to the database failed")

    async def _in_thread(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, job)

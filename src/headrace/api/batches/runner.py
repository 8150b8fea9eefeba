"""Works on batches: each line is a request like any other, in the lowest band, on behalf of whoever made the batch.

A batch belongs to whoever holds its lease. Results are written down as they come, so that whoever takes it after a
crash goes on with the lines that have none. What limits or a full pool refuse is tried again until the batch's day is
over.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from headrace.api.access import Access
from headrace.api.batches.lines import Reader, Request, error_line, result_line
from headrace.api.keys import Keyring
from headrace.api.record import Record
from headrace.errors import StoreError, Unauthorized
from headrace.store.objects.batches import Batch, BatchStore, Result
from headrace.store.objects.files import FileStore
from headrace.store.snapshot import Principal
from headrace.wire.exchange import Exchange
from headrace.wire.message import Request as Call
from headrace.wire.offline import offline

Answer = Callable[[Exchange, Record, Principal], Awaitable[None]]

_KEY = b"x-headrace-key"
"""Names the key on whose behalf an offline request is made; no route leads to what reads it."""
_LOOK_SECONDS = 2.0
_NOTE_SECONDS = 1.0
_RENEW_SECONDS = 5.0
_ANSWER_BYTES = 16 * 1024 * 1024
_AGAIN = frozenset({429, 503, 504})
_MOST_WAIT = 30.0
_EXPIRE_SECONDS = 3600.0

log = logging.getLogger(__name__)


class Runner:
    """Takes one batch after another, and sends ``width`` of its requests at the same time."""

    def __init__(
        self,
        batches: BatchStore,
        files: FileStore,
        keys: Keyring,
        access: Access,
        answers: Mapping[str, Answer],
        width: int,
    ) -> None:
        """``answers``: what answers a request, by its path."""
        self._batches = batches
        self._files = files
        self._keys = keys
        self._handlers = {path: access.wrap(path, self._on_behalf(answer)) for path, answer in answers.items()}
        self._width = width
        self._name = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._expired = float("-inf")
        self._draining = False

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def drain(self) -> None:
        """Finish the requests that are under way, leave the rest of the batch to others, and end ``run``."""
        self._draining = True
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled or drained; a batch that is under way then is left to whoever looks next."""
        while self._width and not self._draining:
            try:
                batch = await asyncio.to_thread(self._batches.take, self._name)
                if batch is None:
                    await self._rest()
                else:
                    await self._work(batch)
            except StoreError as error:
                log.warning("batches wait for the database", extra={"reason": str(error)})
                await asyncio.sleep(_LOOK_SECONDS)
            except Exception:  # a defect must not end the work on other batches
                log.exception("a batch could not be worked on")
                await asyncio.sleep(_LOOK_SECONDS)

    async def _rest(self) -> None:
        if time.monotonic() > self._expired + _EXPIRE_SECONDS:
            self._expired = time.monotonic()
            await asyncio.to_thread(self._files.expire)
        if not self._draining:
            self._wake.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS)

    async def _work(self, batch: Batch) -> None:
        try:
            if batch.status == "validating" and not await self._validate(batch):
                return
            if batch.status == "in_progress":
                await self._send_all(batch)
            if batch.status in {"finalizing", "cancelling", "expired"}:
                await asyncio.to_thread(self._finish, batch)
        finally:
            await asyncio.shield(asyncio.to_thread(self._batches.release, self._name, batch.id))

    async def _validate(self, batch: Batch) -> bool:
        """Read the whole input once. False where the batch has failed."""
        reader = Reader(batch.endpoint)
        await asyncio.to_thread(reader.scan, self._files.read(batch.input_file))
        if reader.errors or not reader.count:
            errors = {"object": "list", "data": reader.errors or [Reader.empty()]}
            await asyncio.to_thread(self._move, batch, "failed", errors=errors)
            return False
        return await asyncio.to_thread(self._move, batch, "in_progress", total=reader.count)

    def _move(self, batch: Batch, status: str, **changes: Any) -> bool:
        batch.status = status
        return self._batches.move(self._name, batch.id, status, **changes)

    def _requests(self, batch: Batch) -> Iterator[Request]:
        return Reader(batch.endpoint).read(self._files.read(batch.input_file))

    async def _send_all(self, batch: Batch) -> None:
        """Send what has no result yet; afterwards ``batch.status`` says how it ended."""
        done = await asyncio.to_thread(self._batches.done, batch.id)
        shift = _Shift(self._batches, self._name, batch)
        requests = self._requests(batch)
        hands = [asyncio.create_task(self._take_turns(batch, requests, done, shift)) for _ in range(self._width)]
        sending = asyncio.gather(*hands)
        keeper, ending = asyncio.create_task(shift.keep()), asyncio.create_task(shift.ended.wait())
        try:
            waited: set[asyncio.Future[Any]] = {sending, ending}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (*hands, ending):
                task.cancel()
            shift.stop.set()
            await asyncio.gather(sending, ending, keeper, return_exceptions=True)
        await shift.note()
        if not shift.ended.is_set() and not self._draining:
            await asyncio.to_thread(self._move, batch, "finalizing")

    async def _take_turns(self, batch: Batch, requests: Iterator[Request], done: set[int], shift: _Shift) -> None:
        """One of the hands: the next line, until there is none."""
        while not self._draining:
            async with shift.reading:
                request = await asyncio.to_thread(next, requests, None)
            if request is None:
                return
            if request.line not in done:
                result = await self._send(batch, request)
                if result is not None:
                    shift.results.append(result)  # the list may be another one by now

    async def _send(self, batch: Batch, request: Request) -> Result | None:
        """One request, again and again while there is no room for it; None: it is left to whoever comes next."""
        while True:
            headers = {_KEY: batch.key.encode()}
            call = Call("POST", batch.endpoint, b"", headers, request.body, "", time.monotonic())
            exchange, recording = offline(call, _ANSWER_BYTES)
            await self._handlers[batch.endpoint](exchange)
            answer = recording.answer()
            if answer is None:
                return error_line(request, "answer_too_large", "The answer is too large for a batch.")
            if answer.status not in _AGAIN:
                return result_line(request, answer)
            if self._draining:
                return None
            await asyncio.sleep(min(_MOST_WAIT, max(1.0, recording.retry_after)))

    def _on_behalf(self, answer: Answer) -> Callable[[Exchange, Record], Awaitable[None]]:
        async def serve(exchange: Exchange, record: Record) -> None:
            principal = self._keys.principal(exchange.request.headers[_KEY].decode())
            if principal is None:
                raise Unauthorized("The API key that made this batch was revoked or has expired.")
            record.tenant, record.key, record.batch = principal.tenant, principal.key_id, True
            await answer(exchange, record, principal)

        return serve

    def _finish(self, batch: Batch) -> None:
        """Make the files of the results. In a thread; to do it twice leaves a file too many, which expires."""
        changes: dict[str, str] = {}
        if batch.status == "expired":
            self._expire_rest(batch)
        for ok, column, purpose in ((True, "output_file", "output"), (False, "error_file", "errors")):
            pieces = self._batches.results(batch.id, ok=ok)
            first = next(pieces, None)
            if first is not None:
                name = f"{batch.id}_{purpose}.jsonl"
                changes[column] = self._files.add(
                    batch.tenant, name, "batch_output", _chain(first, pieces), counted=False
                ).id
        status = {"finalizing": "completed", "cancelling": "cancelled"}.get(batch.status, batch.status)
        if self._batches.move(self._name, batch.id, status, **changes):
            self._batches.forget_results(batch.id)

    def _expire_rest(self, batch: Batch) -> None:
        done = self._batches.done(batch.id)
        results = [
            error_line(request, "batch_expired", "This request could not be executed before the batch's end.")
            for request in self._requests(batch)
            if request.line not in done
        ]
        self._batches.note(self._name, batch.id, results)


class _Shift:
    """What the hands of one batch have in common: results that wait to be written down, and the lease."""

    def __init__(self, batches: BatchStore, worker: str, batch: Batch) -> None:
        self.results: list[Result] = []
        self.ended = asyncio.Event()
        """The batch was cancelled, its day is over, or somebody else works on it."""
        self.stop = asyncio.Event()
        """Ends ``keep``; to cancel it could leave a thread behind that still writes."""
        self.reading = asyncio.Lock()
        self._batches = batches
        self._worker = worker
        self._batch = batch

    async def keep(self) -> None:
        """Write down results, renew the lease, watch for the end; until ``stop``."""
        renewed = time.monotonic()
        while not self.stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), _NOTE_SECONDS)
            try:
                await self.note()
                if time.monotonic() >= renewed + _RENEW_SECONDS or self._batch.expires_at <= time.time():
                    renewed = time.monotonic()
                    await self._look()
            except StoreError as error:
                log.warning("a batch's results wait for the database", extra={"reason": str(error)})

    async def note(self) -> None:
        results, self.results = self.results, []
        if not results:
            return
        try:
            await asyncio.to_thread(self._batches.note, self._worker, self._batch.id, results)
        except StoreError:
            self.results = results + self.results
            raise

    async def _look(self) -> None:
        status = await asyncio.to_thread(self._batches.renew, self._worker, self._batch.id)
        if status is None:
            self._batch.status = "lost"
        elif status == "cancelling":
            self._batch.status = status
        elif self._batch.expires_at <= time.time():
            self._batch.status = "expired"
        else:
            return
        self.ended.set()


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest

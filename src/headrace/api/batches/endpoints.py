"""``/v1/files`` and ``/v1/batches``: what clients leave, see and take away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from headrace.api.access import Access, request_id
from headrace.api.batches.form import Part, read_form
from headrace.api.keys import Keyring
from headrace.api.record import Record
from headrace.errors import ApiError, Forbidden, InvalidRequest, NotFound, Overloaded, StoreError
from headrace.openai.batches import (
    ENDPOINTS,
    BatchFields,
    BatchList,
    BatchObject,
    Counts,
    Deleted,
    FileList,
    FileObject,
)
from headrace.openai.document import check_content_type, convert, decode
from headrace.service.ops import JSON
from headrace.store.objects.batches import Batch, BatchStore
from headrace.store.objects.files import File, FileStore
from headrace.store.snapshot import Principal
from headrace.wire.exchange import Exchange
from headrace.wire.routes import Routes

FILES, BATCHES = "/v1/files", "/v1/batches"
PURPOSES = ("batch", "assistants", "fine-tune", "vision", "user_data", "evals")

_PAGE = 10_000
_WINDOW = 86_400.0
_LEAST_SECONDS = 3600
_NAME = 512
_STORING = 256 * 1024 * 1024
"""Bytes of uploads that arrived and are on their way to the database."""

T = TypeVar("T")


class Desk:
    """The endpoints."""

    def __init__(self, keys: Keyring, files: FileStore, batches: BatchStore, wake: Callable[[], None]) -> None:
        """``wake``: tell whoever works on batches that there is a new one."""
        self._keys = keys
        self._files = files
        self._batches = batches
        self._wake = wake
        self._storing = 0

    def add_to(self, routes: Routes, access: Access) -> None:
        for method, path, label, endpoint in (
            ("POST", FILES, FILES, self.upload),
            ("GET", FILES, FILES, self.list_files),
            ("GET", f"{FILES}/", f"{FILES}/{{id}}", self.show_file),
            ("DELETE", f"{FILES}/", f"{FILES}/{{id}}", self.delete_file),
            ("POST", BATCHES, BATCHES, self.create_batch),
            ("GET", BATCHES, BATCHES, self.list_batches),
            ("GET", f"{BATCHES}/", f"{BATCHES}/{{id}}", self.show_batch),
            ("POST", f"{BATCHES}/", f"{BATCHES}/{{id}}/cancel", self.cancel_batch),
        ):
            routes.add(method, path, access.wrap(label, endpoint))

    # ---- files ----

    async def upload(self, exchange: Exchange, record: Record) -> None:
        principal = await self._enter(exchange, record)
        size = len(exchange.request.body)
        if self._storing and self._storing + size > _STORING:
            raise Overloaded("Too many uploads are being stored; try again.", retry_after=2)
        self._storing += size
        try:
            await self._store(exchange, record, principal)
        finally:
            self._storing -= size

    async def _store(self, exchange: Exchange, record: Record, principal: Principal) -> None:
        request = exchange.request
        form = await asyncio.to_thread(read_form, request.headers.get(b"content-type", b""), request.body)
        request.body = b""  # the form has it
        purpose, file = _field(form, "purpose"), form.get("file")
        if purpose not in PURPOSES:
            raise InvalidRequest(f"purpose: must be one of {', '.join(PURPOSES)}.", param="purpose")
        if file is None or file.filename is None:
            raise InvalidRequest("file: is required, with a filename.", param="file")
        name = file.filename.rpartition("/")[2].replace("\0", "")[:_NAME] or "file"
        seconds = _expiry(form)
        data = file.data
        found = await _in_thread(
            lambda: self._files.add(principal.tenant, name, purpose, [memoryview(data)], seconds=seconds)
        )
        _answer(exchange, record, _file(found))

    async def list_files(self, exchange: Exchange, record: Record) -> None:
        principal = await self._enter(exchange, record)
        query = _query(exchange)
        purpose, after, order = query.get("purpose"), query.get("after"), query.get("order", "desc")
        limit = _limit(query, _PAGE, _PAGE)
        if order not in {"asc", "desc"}:
            raise InvalidRequest("order: must be asc or desc.", param="order")
        found = await _in_thread(
            lambda: self._files.list(
                principal.tenant, purpose=purpose, after=after, limit=limit + 1, newest_first=order == "desc"
            )
        )
        data = [_file(one) for one in found[:limit]]
        _answer(exchange, record, FileList(data, len(found) > limit, *_ends(data)))

    async def show_file(self, exchange: Exchange, record: Record) -> None:
        principal = await self._enter(exchange, record)
        file_id, _, rest = exchange.request.path.removeprefix(f"{FILES}/").partition("/")
        if rest not in {"", "content"}:
            raise _unknown_path(exchange)
        found = await _in_thread(lambda: self._files.get(principal.tenant, file_id))
        if not rest:
            _answer(exchange, record, _file(found))
            return
        exchange.start(200, [(b"content-type", b"application/octet-stream"), request_id(record)])
        pieces = self._files.read(file_id)
        while (piece := await _in_thread(lambda: next(pieces, None))) is not None:
            exchange.write(piece)
            await exchange.drain()
        exchange.finish()

    async def delete_file(self, exchange: Exchange, record: Record) -> None:
        principal = await self._enter(exchange, record)
        file_id = exchange.request.path.removeprefix(f"{FILES}/")
        await _in_thread(lambda: self._files.delete(principal.tenant, file_id))
        _answer(exchange, record, Deleted(file_id, "file"))

    # ---- batches ----

    async def create_batch(self, exchange: Exchange, record: Record) -> None:
        principal = await self._enter(exchange, record)
        if self._keys.principal(principal.key_id) is None:
            raise Forbidden("A batch goes on for hours, longer than a token is valid; make it with an API key.")
        check_content_type(exchange.request.headers.get(b"content-type", b"application/json"))
        choices = {"endpoint": ENDPOINTS, "completion_window": ("24h",)}
        fields = convert(decode(exchange.request.body), BatchFields, choices)
        file = await _in_thread(lambda: self._files.get(principal.tenant, fields.input_file_id))
        if file.purpose != "batch":
            raise InvalidRequest("input_file_id: must be a file with the purpose batch.", param="input_file_id")
        batch = await _in_thread(
            lambda: self._batches.add(
                principal.tenant,
                principal.key_id,
                fields.endpoint,
                file.id,
                seconds=_WINDOW,
                metadata=fields.metadata,
            )
        )
        self._wake()
        _answer(exchange, record, _batch(batch))

    async def list_batches(self, exchange: Exchange, record: Record) -> None:
        principal = await self._enter(exchange, record)
        query = _query(exchange)
        limit, after = _limit(query, 20, 100), query.get("after")
        found = await _in_thread(lambda: self._batches.list(principal.tenant, after=after, limit=limit + 1))
        data = [_batch(one) for one in found[:limit]]
        _answer(exchange, record, BatchList(data, len(found) > limit, *_ends(data)))

    async def show_batch(self, exchange: Exchange, record: Record) -> None:
        principal = await self._enter(exchange, record)
        batch_id = exchange.request.path.removeprefix(f"{BATCHES}/")
        _answer(exchange, record, _batch(await _in_thread(lambda: self._batches.get(principal.tenant, batch_id))))

    async def cancel_batch(self, exchange: Exchange, record: Record) -> None:
        principal = await self._enter(exchange, record)
        batch_id, _, rest = exchange.request.path.removeprefix(f"{BATCHES}/").partition("/")
        if rest != "cancel":
            raise _unknown_path(exchange)
        _answer(exchange, record, _batch(await _in_thread(lambda: self._batches.cancel(principal.tenant, batch_id))))
        self._wake()

    async def _enter(self, exchange: Exchange, record: Record) -> Principal:
        principal = await self._keys.authenticate(exchange.request.headers)
        record.tenant, record.key = principal.tenant, principal.key_id
        return principal


def _answer(exchange: Exchange, record: Record, document: Any) -> None:
    exchange.respond(200, [*JSON, request_id(record)], msgspec.json.encode(document))


def _file(file: File) -> FileObject:
    return FileObject(file.id, file.size, int(file.created_at), int(file.expires_at), file.name, file.purpose)


def _batch(batch: Batch) -> BatchObject:
    return BatchObject(
        id=batch.id,
        endpoint=batch.endpoint,
        input_file_id=batch.input_file,
        status=batch.status,
        created_at=int(batch.created_at),
        expires_at=int(batch.expires_at),
        request_counts=Counts(batch.total, batch.completed, batch.failed),
        output_file_id=batch.output_file,
        error_file_id=batch.error_file,
        **batch.details,
    )


def _ends(data: list[Any]) -> tuple[str | None, str | None]:
    return (data[0].id, data[-1].id) if data else (None, None)


def _query(exchange: Exchange) -> dict[str, str]:
    try:
        pairs = parse_qs(exchange.request.query.decode("latin-1"), max_num_fields=20)
    except ValueError:
        raise InvalidRequest("The query has too many fields.") from None
    return {name: values[-1] for name, values in pairs.items()}


def _limit(query: dict[str, str], default: int, most: int) -> int:
    text = query.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise InvalidRequest(f"limit: must be a number from 1 to {most}.", param="limit")
    return int(text)


def _field(form: dict[str, Part], name: str) -> str:
    part = form.get(name)
    return "" if part is None else part.data.decode("utf-8", "replace")


def _expiry(form: dict[str, Part]) -> float | None:
    """``expires_after``, which the SDKs send as two fields."""
    seconds = _field(form, "expires_after[seconds]")
    if not seconds:
        return None
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 9 and int(seconds) >= _LEAST_SECONDS):
        raise InvalidRequest(
            f"expires_after.seconds: must be a number of at least {_LEAST_SECONDS}.", param="expires_after.seconds"
        )
    return float(seconds)


def _unknown_path(exchange: Exchange) -> NotFound:
    return NotFound(f"There is no {exchange.request.path[:200]} here.", code="unknown_path")


async def _in_thread(job: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(job)
    except ApiError:
        raise
    except StoreError:
        raise Overloaded(
            "Files and batches cannot be reached right now; try again.", code="store_unavailable", retry_after=2
        ) from None

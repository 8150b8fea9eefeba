"""The way of a request through llm-api: authenticate, decode, check, weigh, send on, meter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from headrace.api import idempotency, prefix, session
from headrace.api.access import CLIENT_CLOSED, Endpoint
from headrace.api.aliases.alias import Alias
from headrace.api.bill import Bill
from headrace.api.cache import AnswerCache
from headrace.api.cost import Estimator
from headrace.api.fleet import Fleet, PoolView
from headrace.api.forward import Forwarder, Shipment
from headrace.api.job import Job
from headrace.api.keys import Keyring
from headrace.api.ledger import Ledger
from headrace.api.length import Length
from headrace.api.limits import Limits
from headrace.api.metrics import ApiMetrics
from headrace.api.models import Models
from headrace.api.moderator import Moderator
from headrace.api.prompts import PromptLog
from headrace.api.record import Record, milliseconds
from headrace.errors import ApiError, InvalidRequest
from headrace.openai.document import check_content_type
from headrace.openai.request import GenerationRequest, Request
from headrace.openai.rules import Rules
from headrace.service.secret import HopSecret
from headrace.store.snapshot import Principal
from headrace.wire import contract
from headrace.wire.dialect import OPENAI, Dialect
from headrace.wire.exchange import Exchange

AnyRequest = Request[Any]

_LOWEST_BAND = b"%b: 9\r\n" % contract.PRIORITY

JSON = b"application/json"

_HEAD = b"%%b%%b%b: %%d\r\n%%b%b: %%b\r\n%b: %%b\r\n%b: %%b\r\n%b: %%b\r\n%b: %%b\r\ncontent-length: %%d\r\n" % (
    contract.DEADLINE,
    contract.MODEL,
    contract.TENANT,
    contract.REQUEST_ID,
    contract.COST,
    contract.PREFIX_BLOCKS,
)


Answer = Callable[[Exchange, Record, Principal], Awaitable[None]]


class Memory(Protocol):
    """Of conversations."""

    async def recall(self, request: AnyRequest, principal: Principal) -> None: ...

    def keep(self, request: AnyRequest, principal: Principal) -> None: ...


class Gateway:
    """The endpoints that reach a worker."""

    def __init__(
        self,
        keys: Keyring,
        models: Models,
        fleet: Fleet,
        forwarder: Forwarder,
        limits: Limits,
        length: Length,
        once: idempotency.Idempotency,
        moderator: Moderator,
        ledger: Ledger,
        metrics: ApiMetrics,
        secret: HopSecret,
        rules: Rules,
        timeout: float,
        cache: AnswerCache | None = None,
        prompts: PromptLog | None = None,
    ) -> None:
        """``timeout``: seconds until the first byte of an answer."""
        self._keys = keys
        self._models = models
        self._fleet = fleet
        self._forwarder = forwarder
        self._limits = limits
        self._length = length
        self._idempotency = once
        self._moderator = moderator
        self._cache = cache
        self._prompts = prompts
        self._ledger = ledger
        self._metrics = metrics
        self._rules = rules
        self._timeout = timeout
        self._estimator = Estimator()
        self._fixed_lines = b"content-type: application/json\r\n"
        if secret.required:
            self._fixed_lines += b"%b: %b\r\n" % (contract.SECRET, secret.current)

    def endpoint(
        self, kind: type[AnyRequest], path: str, dialect: Dialect = OPENAI, memory: Memory | None = None
    ) -> Endpoint:
        """The endpoint that takes requests of ``kind``; workers answer them at ``path``."""
        answer = self.answering(kind, path, memory)

        async def serve(exchange: Exchange, record: Record) -> None:
            exchange.dialect = dialect
            principal = await self._keys.authenticate(exchange.request.headers)
            record.tenant, record.key = principal.tenant, principal.key_id
            record.auth_ms = milliseconds(time.monotonic() - exchange.request.received)
            key = exchange.request.headers.get(idempotency.HEADER)
            if key is None:
                await answer(exchange, record, principal)
            else:
                work = partial(answer, exchange, record, principal)
                await self._idempotency.run(key, exchange, record, principal, work)

        return serve

    def answering(self, kind: type[AnyRequest], path: str, memory: Memory | None = None) -> Answer:
        """What answers such requests of whoever is known already.

        ``memory``: what a request may go on from, and where its answer is kept; None where there is no such thing.
        """
        request_line = b"POST %b HTTP/1.1\r\n" % path.encode()

        async def answer(exchange: Exchange, record: Record, principal: Principal) -> None:
            content_type = exchange.request.headers.get(b"content-type", JSON)
            if content_type != JSON:
                check_content_type(content_type)
            request = kind.decode(exchange.request.body)
            if request.translator is not None:
                exchange.dialect = request.translator
            if memory is not None:
                await memory.recall(request, principal)
            alias = self._models.alias(request.model)
            if alias is None:
                pools: Sequence[PoolView] = (self._models.pool(request, principal),)
                request.check(self._rules)
            else:
                pools = self._models.behind(alias, request, principal)
                record.alias = alias.name
                alias.shape(request)
            record.model = pools[0].name
            text = prefix.prompt_text(request)
            sequences, cap = 0, None
            if isinstance(request, GenerationRequest):
                record.stream, sequences, cap = request.stream, request.n, request.output_cap
            cost = self._estimator.estimate(record.model, len(text.data), text.media, sequences, cap)
            job = Job(exchange, record, principal, request, request_line, text, cost, sequences)
            if self._prompts is not None:
                self._prompts.write(request, record)
            if self._cache is not None and self._cache.wanted(exchange, record):
                work = partial(self._admit, job, pools, alias)
                await self._cache.run(exchange, record, request.encode(record.model), work)
            else:
                await self._admit(job, pools, alias)
            if memory is not None and exchange.status == 200 and not record.reason:
                memory.keep(request, principal)

        return answer

    async def _admit(self, job: Job, pools: Sequence[PoolView], alias: Alias | None) -> None:
        """Take what the request will use from the limits, deliver it, and see that its bill is closed."""
        bill = Bill(self._ledger, self._estimator, job)
        if job.principal.subjects:
            bill.lease = await self._limits.admit(job.exchange, job.principal.subjects, job.cost, job.request)
        shipment: Shipment | None = None
        try:
            if alias is not None and alias.moderation is not None:
                await self._moderator.check(alias.moderation, job.request, job.text, job.record)
            for place, pool in enumerate(pools):
                spare = place + 1 < len(pools)
                job.record.model = pool.name
                if self._length.is_near(pool, job.cost) and not await self._fits(job, pool, spare):
                    continue
                shipment = self._pack(job, pool, alias, spare, bill)
                await self._forwarder.send(job.exchange, shipment, job.record)
                if not shipment.refused:
                    break
                self._metrics.fallbacks.labels(job.record.alias, pool.name, shipment.refused).inc()
        except asyncio.CancelledError:
            if shipment is None:
                bill.unused(CLIENT_CLOSED)
            else:
                waiting = self._fleet.pool(shipment.pool)
                waited = 0.0 if waiting is None else waiting.wait_ms / 1000
                bill.left(CLIENT_CLOSED, shipment.usage, shipment.events, waited)
            raise
        except ApiError as error:
            bill.failed(error.status)
            raise
        finally:
            bill.failed(500)

    async def _fits(self, job: Job, pool: PoolView, spare: bool) -> bool:
        """Whether the prompt is short enough. Raises InvalidRequest where it is not and no other model is left."""
        try:
            await self._length.check(pool, job.request, job.text, job.record)
        except InvalidRequest:
            if not spare:
                raise
            return False
        return True

    def _pack(self, job: Job, pool: PoolView, alias: Alias | None, spare: bool, bill: Bill) -> Shipment:
        request, record = job.request, job.record
        adapter = pool.name if pool.base else ""
        blocks, wants_usage, timeout = b"", False, self._timeout
        if isinstance(request, GenerationRequest):
            blocks, wants_usage = prefix.header("", adapter, job.text.data), request.wants_usage
        if alias is not None:
            timeout -= job.age
            if spare and alias.patience is not None:
                timeout = min(timeout, alias.patience)
        body = request.encode(record.model)
        headers = job.exchange.request.headers
        optional = session.line(headers, request.document, record.tenant)
        traceparent = headers.get(contract.TRACEPARENT)
        if traceparent:
            optional += b"traceparent: %b\r\n" % traceparent
        if adapter:
            optional += b"%b: %b\r\n" % (contract.ADAPTER, adapter.encode())
        head = _HEAD % (
            job.request_line,
            self._fixed_lines if not record.batch else self._fixed_lines + _LOWEST_BAND,
            max(1, int(timeout * 1000)),
            optional,
            (pool.base or pool.name).encode(),
            record.tenant.encode(),
            record.id.encode(),
            job.cost.header(),
            blocks,
            len(body),
        )
        admin = job.principal.admin
        return Shipment(record.model, blocks, head, body, wants_usage, request.translator, admin, bill, timeout, spare)

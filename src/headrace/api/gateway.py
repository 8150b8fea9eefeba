"""The way of a request through llm-api: authenticate, decode, check, weigh, send on, meter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from headrace.api import idempotency, prefix
from headrace.api.access import Endpoint
from headrace.api.aliases.alias import Alias
from headrace.api.cost import Cost, Estimator
from headrace.api.fleet import Fleet, PoolView
from headrace.api.forward import Forwarder, Shipment
from headrace.api.keys import Keyring
from headrace.api.length import Length
from headrace.api.limits import Limits
from headrace.api.metrics import ApiMetrics
from headrace.api.models import Models
from headrace.api.record import Record, milliseconds
from headrace.errors import InvalidRequest
from headrace.openai.document import check_content_type
from headrace.openai.request import GenerationRequest, Request
from headrace.openai.rules import Rules
from headrace.openai.usage import Usage
from headrace.service.secret import HopSecret
from headrace.store.snapshot import Principal
from headrace.wire import contract
from headrace.wire.dialect import OPENAI, Dialect
from headrace.wire.exchange import Exchange

AnyRequest = Request[Any]

JSON = b"application/json"

_HEAD = b"%%b%%b%b: %%d\r\n%%b%b: %%b\r\n%b: %%b\r\n%b: %%b\r\n%b: %%b\r\n%b: %%b\r\ncontent-length: %%d\r\n" % (
    contract.DEADLINE,
    contract.MODEL,
    contract.TENANT,
    contract.REQUEST_ID,
    contract.COST,
    contract.PREFIX_BLOCKS,
)


class _Job(Struct, eq=False):
    """One request on its way."""

    exchange: Exchange
    record: Record
    principal: Principal
    request: AnyRequest
    request_line: bytes
    text: prefix.PromptText
    cost: Cost
    sequences: int
    """That are generated; 0 where nothing is."""

    @property
    def output_cap(self) -> int | None:
        return self.request.output_cap if isinstance(self.request, GenerationRequest) else None

    @property
    def age(self) -> float:
        """Seconds since the request came."""
        return time.monotonic() - self.exchange.request.received


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
        metrics: ApiMetrics,
        secret: HopSecret,
        rules: Rules,
        timeout: float,
    ) -> None:
        self._keys = keys
        self._models = models
        self._fleet = fleet
        self._forwarder = forwarder
        self._limits = limits
        self._length = length
        self._idempotency = once
        self._metrics = metrics
        self._rules = rules
        self._timeout = timeout
        self._estimator = Estimator()
        self._fixed_lines = b"content-type: application/json\r\n"
        if secret.required:
            self._fixed_lines += b"%b: %b\r\n" % (contract.SECRET, secret.current)

    def endpoint(self, kind: type[AnyRequest], path: str, dialect: Dialect = OPENAI) -> Endpoint:
        """The endpoint that takes requests of ``kind``; workers answer them at ``path``."""
        request_line = b"POST %b HTTP/1.1\r\n" % path.encode()

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

        async def answer(exchange: Exchange, record: Record, principal: Principal) -> None:
            content_type = exchange.request.headers.get(b"content-type", JSON)
            if content_type != JSON:
                check_content_type(content_type)
            request = kind.decode(exchange.request.body)
            if request.translator is not None:
                exchange.dialect = request.translator
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
            job = _Job(exchange, record, principal, request, request_line, text, cost, sequences)
            await self._admit(job, pools, alias)

        return serve

    async def _admit(self, job: _Job, pools: Sequence[PoolView], alias: Alias | None) -> None:
        """Take what the request will use from the limits, deliver it, and settle."""
        record, lease = job.record, None
        if job.principal.subjects:
            lease = await self._limits.admit(job.exchange, job.principal.subjects, job.cost, job.request)
        failed = True
        shipment: Shipment | None = None
        try:
            for place, pool in enumerate(pools):
                spare = place + 1 < len(pools)
                record.model = pool.name
                if self._length.is_near(pool, job.cost) and not await self._fits(job, pool, spare):
                    continue
                shipment = self._pack(job, alias, spare)
                used = await self._forwarder.send(job.exchange, shipment, record)
                if not shipment.refused:
                    break
                self._metrics.fallbacks.labels(record.alias, pool.name, shipment.refused).inc()
            assert shipment is not None
            failed = (record.status or job.exchange.status) >= 500
            if used is not None:
                self._account(job, used)
            elif job.exchange.status == 200 and not failed:
                self._estimate(job, shipment.events or job.cost.output)
        except asyncio.CancelledError:
            failed = False
            self._bill_the_gone(job, shipment)
            raise
        finally:
            if lease is not None:
                lease.settle(0 if failed else record.prompt_tokens + record.completion_tokens, counts=not failed)

    async def _fits(self, job: _Job, pool: PoolView, spare: bool) -> bool:
        """Whether the prompt is short enough. Raises InvalidRequest where it is not and no other model is left."""
        try:
            await self._length.check(pool, job.request, job.text, job.record)
        except InvalidRequest:
            if not spare:
                raise
            return False
        return True

    def _pack(self, job: _Job, alias: Alias | None, spare: bool) -> Shipment:
        request, record = job.request, job.record
        blocks, wants_usage, timeout = b"", False, self._timeout
        if isinstance(request, GenerationRequest):
            blocks, wants_usage = prefix.header("", "", job.text.data), request.wants_usage
        if alias is not None:
            timeout -= job.age
            if spare and alias.patience is not None:
                timeout = min(timeout, alias.patience)
        body = request.encode(record.model)
        traceparent = job.exchange.request.headers.get(contract.TRACEPARENT)
        head = _HEAD % (
            job.request_line,
            self._fixed_lines,
            max(1, int(timeout * 1000)),
            b"traceparent: %b\r\n" % traceparent if traceparent else b"",
            record.model.encode(),
            record.tenant.encode(),
            record.id.encode(),
            job.cost.header(),
            blocks,
            len(body),
        )
        return Shipment(
            record.model, blocks, head, body, wants_usage, request.translator, job.principal.admin, timeout, spare
        )

    def _account(self, job: _Job, used: Usage) -> None:
        record = job.record
        record.prompt_tokens = used.prompt_tokens
        record.completion_tokens = used.output
        record.cached_tokens = used.cached
        if not job.text.media:
            self._estimator.learn(
                record.model,
                len(job.text.data),
                used.prompt_tokens,
                sequences=job.sequences,
                output_tokens=used.output,
                seconds=job.age - record.queue_ms / 1000 - record.client_stall_ms / 1000,
            )

    def _bill_the_gone(self, job: _Job, shipment: Shipment | None) -> None:
        """The client left: what was produced for it until now is billed."""
        if shipment is None:
            return
        if shipment.usage is not None:
            self._account(job, shipment.usage)
        elif shipment.events or not job.sequences:
            self._estimate(job, shipment.events)
        else:  # an answer in one piece, of which nobody outside the worker knows how far it came
            pool = self._fleet.pool(job.record.model)
            worked = job.age - (pool.wait_ms / 1000 if pool is not None else 0.0)
            if worked > 0:
                produced = self._estimator.produced(
                    job.record.model, worked, sequences=job.sequences, output_cap=job.output_cap
                )
                self._estimate(job, produced)

    @staticmethod
    def _estimate(job: _Job, output: int) -> None:
        """Note what was used where no worker told it; what no model answers uses nothing."""
        if job.request.served_by:
            job.record.prompt_tokens, job.record.completion_tokens = job.cost.prompt, output
            job.record.estimated = True

"""The way of a request through llm-api: authenticate, decode, check, weigh, send on, meter."""

from __future__ import annotations

import asyncio
from typing import Any

from headrace.api import prefix
from headrace.api.access import Endpoint
from headrace.api.cost import Cost, Estimator
from headrace.api.fleet import Fleet, PoolView
from headrace.api.forward import Forwarder, Shipment
from headrace.api.keys import Keyring
from headrace.api.limits import Limits
from headrace.api.listing import no_such_model
from headrace.api.record import Record
from headrace.errors import InvalidRequest
from headrace.openai.request import GenerationRequest, Request
from headrace.openai.rules import Rules
from headrace.openai.usage import Usage
from headrace.service.secret import HopSecret
from headrace.store.snapshot import Principal
from headrace.wire import contract
from headrace.wire.dialect import OPENAI, Dialect
from headrace.wire.exchange import Exchange

AnyRequest = Request[Any]

_HEAD = b"%%b%%b%%b%b: %%b\r\n%b: %%b\r\n%b: %%b\r\n%b: %%b\r\n%b: %%b\r\ncontent-length: %%d\r\n" % (
    contract.MODEL,
    contract.TENANT,
    contract.REQUEST_ID,
    contract.COST,
    contract.PREFIX_BLOCKS,
)


class Gateway:
    """The endpoints that reach a worker."""

    def __init__(
        self,
        keys: Keyring,
        fleet: Fleet,
        forwarder: Forwarder,
        limits: Limits,
        secret: HopSecret,
        rules: Rules,
        timeout: float,
    ) -> None:
        self._keys = keys
        self._fleet = fleet
        self._forwarder = forwarder
        self._limits = limits
        self._rules = rules
        self._estimator = Estimator()
        self._fixed_lines = b"content-type: application/json\r\n%b: %d\r\n" % (contract.DEADLINE, timeout * 1000)
        if secret.required:
            self._fixed_lines += b"%b: %b\r\n" % (contract.SECRET, secret.current)

    def endpoint(self, kind: type[AnyRequest], path: str, dialect: Dialect = OPENAI) -> Endpoint:
        """The endpoint that takes requests of ``kind``; workers answer them at ``path``."""
        request_line = b"POST %b HTTP/1.1\r\n" % path.encode()

        async def serve(exchange: Exchange, record: Record) -> None:
            exchange.dialect = dialect
            principal = await self._keys.authenticate(exchange.request.headers)
            record.tenant, record.key = principal.tenant, principal.key_id
            request = kind.decode(exchange.request.body)
            if request.translator is not None:
                exchange.dialect = request.translator
            pool = self._pool(request, principal)
            record.model = pool.name
            request.check(self._rules)
            record.stream = isinstance(request, GenerationRequest) and request.stream
            text = prefix.prompt_text(request)
            cost = self._weigh(request, text)
            shipment = self._pack(request_line, exchange, request, text, cost, principal, record)
            lease = None
            if principal.subjects:
                lease = await self._limits.admit(exchange, principal.subjects, cost, request)
            failed = True
            try:
                used = await self._forwarder.send(exchange, shipment, record)
                failed = (record.status or exchange.status) >= 500
                if used is not None:
                    self._account(request, text, record, used)
                elif exchange.status == 200 and not failed:
                    _estimate(request, cost, shipment.events or cost.output, record)
            except asyncio.CancelledError:
                failed = False
                if shipment.usage is not None:
                    self._account(request, text, record, shipment.usage)
                else:
                    _estimate(request, cost, shipment.events, record)
                raise
            finally:
                if lease is not None:
                    lease.settle(0 if failed else record.prompt_tokens + record.completion_tokens, counts=not failed)

        return serve

    def _weigh(self, request: AnyRequest, text: prefix.PromptText) -> Cost:
        """What the request will probably use."""
        if not isinstance(request, GenerationRequest):
            return self._estimator.estimate(request.model, len(text.data), sequences=0)
        return self._estimator.estimate(
            request.model, len(text.data), media=text.media, sequences=request.n, output_cap=request.output_cap
        )

    def _pool(self, request: AnyRequest, principal: Principal) -> PoolView:
        """The pool of the request's model. A model that the key may not use does not exist for it."""
        self._fleet.demand()
        pool = self._fleet.pool(request.model or self._only_model(request, principal))
        if pool is None or not principal.allows(pool.name):
            raise no_such_model(request.model, self._fleet, principal)
        wanted = request.served_by
        if wanted and pool.modality not in wanted:
            raise InvalidRequest(
                f"The model {pool.name} is of the kind {pool.modality!r}; "
                f"this endpoint needs {' or '.join(map(repr, wanted))}.",
                param="model",
                code="wrong_modality",
            )
        return pool

    def _only_model(self, request: AnyRequest, principal: Principal) -> str:
        """The model of a request that need not name one."""
        names = [
            pool.name
            for pool in self._fleet.pools()
            if pool.modality in request.served_by and principal.allows(pool.name)
        ]
        if len(names) != 1:
            raise InvalidRequest(f"model: is required. Models for you: {', '.join(names) or 'none'}.", param="model")
        return names[0]

    def _pack(
        self,
        request_line: bytes,
        exchange: Exchange,
        request: AnyRequest,
        text: prefix.PromptText,
        cost: Cost,
        principal: Principal,
        record: Record,
    ) -> Shipment:
        blocks, wants_usage = b"", False
        if isinstance(request, GenerationRequest):
            blocks, wants_usage = prefix.header("", "", text.data), request.wants_usage
        body = request.encode(record.model)
        traceparent = exchange.request.headers.get(contract.TRACEPARENT)
        head = _HEAD % (
            request_line,
            self._fixed_lines,
            b"traceparent: %b\r\n" % traceparent if traceparent else b"",
            record.model.encode(),
            record.tenant.encode(),
            record.id.encode(),
            cost.header(),
            blocks,
            len(body),
        )
        return Shipment(record.model, blocks, head, body, wants_usage, request.translator, principal.admin)

    def _account(self, request: AnyRequest, text: prefix.PromptText, record: Record, used: Usage) -> None:
        record.prompt_tokens = used.prompt_tokens
        record.completion_tokens = used.output
        record.cached_tokens = used.cached
        if not text.media:
            sequences = request.n if isinstance(request, GenerationRequest) else 0
            self._estimator.learn(
                record.model, len(text.data), used.prompt_tokens, sequences=sequences, output_tokens=used.output
            )


def _estimate(request: AnyRequest, cost: Cost, output: int, record: Record) -> None:
    """Note what was used where no worker told it; what no model answers uses nothing."""
    if request.served_by:
        record.prompt_tokens, record.completion_tokens = cost.prompt, output

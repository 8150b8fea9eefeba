"""llm-api as a service."""

from __future__ import annotations

import asyncio
from contextlib import closing

import msgspec

from headrace.api.access import Access
from headrace.api.admin.app import PREFIX as ADMIN
from headrace.api.admin.app import AdminApi
from headrace.api.admin.identities import Identities
from headrace.api.admin.reports import Reports
from headrace.api.aliases.book import AliasBook
from headrace.api.batches.endpoints import FILES, Desk
from headrace.api.batches.runner import Runner
from headrace.api.budgets import Budgets
from headrace.api.cache import AnswerCache
from headrace.api.clients import Clients
from headrace.api.dialects.responses import ResponsesRequest
from headrace.api.endpoints import INFERENCE
from headrace.api.fleet import Fleet
from headrace.api.forward import Forwarder
from headrace.api.gateway import Answer, Gateway
from headrace.api.idempotency import Idempotency
from headrace.api.inside import Inside
from headrace.api.keys import Keyring
from headrace.api.ledger import Ledger
from headrace.api.length import Length
from headrace.api.limits import Limits
from headrace.api.listing import PREFIX, Listing
from headrace.api.metrics import ApiMetrics
from headrace.api.models import Models
from headrace.api.moderator import Moderator
from headrace.api.oidc import Oidc
from headrace.api.openapi import PublicDocument
from headrace.api.prompts import PromptLog, Redactor
from headrace.api.record import AccessLog
from headrace.api.shelf import PREFIX as SHELF
from headrace.api.shelf import Shelf
from headrace.api.spans import Spans
from headrace.config import ApiSettings, bootstrap_key, home
from headrace.openai.batches import ENDPOINTS
from headrace.openai.rules import Rules
from headrace.service import run
from headrace.service.secret import HopSecret
from headrace.store.keep.keep import Keep
from headrace.store.keep.memory import MemoryKeep
from headrace.store.keys import KeyStore
from headrace.store.limits.limiter import LimiterService
from headrace.store.limits.memory import MemoryLimiter
from headrace.store.limits.shared import SharedLimiter
from headrace.store.objects.batches import BatchStore
from headrace.store.objects.files import FileStore
from headrace.store.objects.responses import ResponseStore
from headrace.store.spool import Spool
from headrace.store.usage import UsageStore
from headrace.telemetry.logs import LineWriter
from headrace.telemetry.metrics import Registry
from headrace.telemetry.traces import Tracer
from headrace.wire.limits import ServerLimits
from headrace.wire.routes import Routes

_LINES_SECONDS = 5.0
"""What the lines of batches that are under way get at the end."""


def serve(settings: ApiSettings) -> None:
    """``headrace api``."""
    given = bootstrap_key()
    if given:
        with closing(_open_store(settings)) as store:
            store.bootstrap(given)
    run(lambda: ApiService(settings), settings, "llm-api")


def _open_store(settings: ApiSettings) -> KeyStore:
    return KeyStore.open(home(), database=settings.database, pepper=settings.pepper)


def _open_limiter(settings: ApiSettings) -> LimiterService:
    if not settings.redis:
        return MemoryLimiter(share=settings.processes)
    from headrace.store.limits.redis import RedisLimiter  # noqa: PLC0415  the driver is slow to import

    return SharedLimiter(RedisLimiter(settings.redis), processes=settings.processes)


def _open_keep(settings: ApiSettings) -> Keep:
    if not settings.redis:
        return MemoryKeep()
    from headrace.store.keep.redis import RedisKeep  # noqa: PLC0415  the driver is slow to import

    return RedisKeep(settings.redis)


def _open_prompts(settings: ApiSettings) -> PromptLog | None:
    if settings.prompt_log is None:
        return None
    return PromptLog(settings.prompt_log, settings.prompt_log_tenants, Redactor(settings.redact))


class ApiService:
    """The public API. A ``Service``. ``writer`` takes the access log, by default to standard output."""

    name = "llm-api"

    def __init__(self, settings: ApiSettings, writer: LineWriter | None = None) -> None:
        self.registry = Registry()
        uploads = frozenset({FILES.encode()})
        self.limits = ServerLimits(body=settings.max_body, upload=settings.max_upload, upload_paths=uploads)
        secret = HopSecret(settings.hop_secret, settings.hop_secret_previous)
        self._writer = writer or LineWriter()
        self._metrics = ApiMetrics(self.registry)
        self.registry.on_collect(self._collect)
        self._store = _open_store(settings)
        oidc = Oidc(settings) if settings.oidc_issuer else None
        self._keys = Keyring(self._store, home() / "keys.snapshot", oidc=oidc)
        usage = UsageStore(self._store.database, retention=settings.ledger_days)
        self._ledger = Ledger(Spool(settings.spool or home() / "spool", limit=settings.spool_limit), usage)
        self._fleet = Fleet(settings.router, secret)
        actions = [*Identities(self._store).actions(), *Reports(usage, self._fleet).actions()]
        self._admin = AdminApi(self._keys, actions)
        self._forwarder = Forwarder(self._fleet)
        self._limiter = _open_limiter(settings)
        self._budgets = Budgets(self._limiter, self._ledger)
        self._keep = _open_keep(settings)
        days = settings.responses_days
        responses = ResponseStore(self._store.database, days) if days else None
        self._shelf = Shelf(responses, self._keys, self._metrics)
        rules = Rules(media_hosts=frozenset(host.lower() for host in settings.media_hosts))
        self._aliases = AliasBook(settings.aliases, rules)
        self._models = Models(self._fleet, self._aliases)
        inside = Inside(self._fleet, secret)
        self._prompts = _open_prompts(settings)
        self._gateway = Gateway(
            self._keys,
            self._models,
            self._fleet,
            self._forwarder,
            Limits(self._limiter, self._metrics),
            Length(inside),
            Idempotency(self._keep, settings.idempotency_hours * 3600),
            Moderator(inside),
            self._ledger,
            self._metrics,
            secret,
            rules,
            settings.first_event_timeout,
            AnswerCache(self._keep, settings.cache) if settings.cache else None,
            self._prompts,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._working: asyncio.Task[None] | None = None
        """On batches."""
        self._draining = False
        self._tracer = Tracer(settings.otlp.rstrip("/"), self.name, settings.otlp_sample) if settings.otlp else None
        spans = Spans(self._tracer) if self._tracer is not None else None
        access = Access(AccessLog(self._writer), self._metrics, Clients(settings.trusted_proxies), spans)
        database = self._store.database
        files = FileStore(database, quota=settings.files_quota, days=settings.files_days)
        batches = BatchStore(database)
        self._runner = Runner(batches, files, self._keys, access, self._answers(), settings.batch_width)
        self._desk = Desk(self._keys, files, batches, self._runner.wake)
        self.routes = self._routes(access)

    async def start(self) -> None:
        await asyncio.gather(self._keys.start(), self._fleet.start(), self._start_ledger())
        jobs = (
            self._fleet.run(),
            self._forwarder.watch.run(),
            self._limiter.run(),
            self._aliases.run(),
            self._shelf.run(),
            self._budgets.run(),
        )
        self._working = asyncio.create_task(self._runner.run())
        self._tasks = [self._working, *(asyncio.create_task(job) for job in jobs)]

    async def _start_ledger(self) -> None:
        await self._ledger.start()
        if not self._ledger.failing:
            await self._budgets.start()

    def unready(self) -> str | None:
        if self._draining:
            return "draining"
        if not self._fleet.reachable:
            return "no router can be reached"
        return self._keys.unready()

    def load(self) -> bytes | None:
        return None

    def debug(self, path: str) -> bytes | None:
        return msgspec.json.encode(self._fleet.pools()) if path == "pools" else None

    async def drain(self) -> None:
        self._draining = True
        self._runner.drain()

    async def close(self) -> None:
        self._runner.drain()
        if self._working is not None:
            await asyncio.wait({self._working}, timeout=_LINES_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fleet.close()
        await self._limiter.close()
        await self._keep.close()
        await self._ledger.close()
        self._admin.close()
        await self._shelf.close()
        await self._keys.close()
        self._store.close()
        self._writer.close()
        if self._prompts is not None:
            await asyncio.to_thread(self._prompts.close)
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)

    def _answers(self) -> dict[str, Answer]:
        """What answers the requests of batches."""
        return {
            one.path: self._gateway.answering(one.kind, one.worker_path or one.path)
            for one in INFERENCE
            if one.path in ENDPOINTS
        }

    def _routes(self, access: Access) -> Routes:
        routes = Routes()
        listing = Listing(self._keys, self._fleet, self._models)
        for one in INFERENCE:
            memory = self._shelf if one.kind is ResponsesRequest else None
            endpoint = self._gateway.endpoint(one.kind, one.worker_path or one.path, one.dialect, memory)
            routes.add("POST", one.path, access.wrap(one.path, endpoint))
        routes.add("GET", "/v1/models", access.wrap("/v1/models", listing.all))
        routes.add("GET", PREFIX, access.wrap(PREFIX + "{id}", listing.one))
        for method, shelf in (("GET", self._shelf.show), ("DELETE", self._shelf.delete)):
            routes.add(method, SHELF, access.wrap(SHELF + "{id}", shelf))
        self._desk.add_to(routes, access)
        routes.mount(ADMIN, access.wrap(ADMIN, self._admin.serve))
        routes.add("GET", "/openapi.json", access.wrap("/openapi.json", PublicDocument().serve))
        return routes

    def _collect(self) -> None:
        state, ledger = self._metrics.state, self._metrics.ledger
        state.store_up.set(not self._keys.failing and not self._ledger.failing)
        state.aliases_stale.set(self._aliases.stale)
        state.limits_fallback.set(self._limiter.fallback)
        state.log_dropped.value = self._writer.dropped
        state.prompts_dropped.value = self._prompts.dropped if self._prompts is not None else 0
        state.spans_dropped.value = self._tracer.dropped if self._tracer is not None else 0
        ledger.records.value = self._ledger.booked
        ledger.dropped.value = self._ledger.spool.dropped
        ledger.refused.value = self._ledger.refused
        ledger.unsynced.value = self._ledger.unsynced
        ledger.spool_bytes.set(self._ledger.spool.size)
        ledger.lag.set(self._ledger.lag)

"""Workers of a Service by its EndpointSlices: list, then watch, as the Kubernetes API documents it.

A client of our own, a hundred lines over HTTP, and not kubernetes_asyncio, which brings a second HTTP stack into a
process that holds secrets. What is known stays while the API server does not answer. Every watch ends after ``RESYNC``
seconds and everything is listed again, so that a lost event is not lost for ever. An endpoint that is terminating has
left: the roster lets it drain. One that is not ready stays: whether a worker may get requests the router sees for
itself.

The service account needs ``list`` and ``watch`` on ``endpointslices`` of ``discovery.k8s.io`` in the namespace.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from headrace.errors import ConfigError, ConnectError
from headrace.router.discovery.target import Publish, Target

log = logging.getLogger(__name__)

RESYNC = 300
_PAGE = 500
_LEAST_PAUSE, _MOST_PAUSE = 0.5, 30.0


class _Conditions(msgspec.Struct):
    terminating: bool | None = None


class _Endpoint(msgspec.Struct):
    addresses: list[str]
    conditions: _Conditions = msgspec.field(default_factory=_Conditions)


class _Port(msgspec.Struct):
    port: int | None = None
    name: str | None = None


class _Meta(msgspec.Struct):
    name: str = ""
    resource_version: str = msgspec.field(name="resourceVersion", default="")
    next: str = msgspec.field(name="continue", default="")


class Slice(msgspec.Struct):
    """An EndpointSlice, as far as we need it."""

    metadata: _Meta
    address_type: str = msgspec.field(name="addressType", default="IPv4")
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


class _List(msgspec.Struct):
    metadata: _Meta
    items: list[Slice]


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class Cluster:
    """Where the API server is, and who we are to it."""

    def __init__(self, api: str, account: Path) -> None:
        """``account``: the folder of the service account's ``token`` and ``ca.crt``; not read for a plain http URL."""
        self.api = api
        self._account = account

    def client(self) -> httpx2.AsyncClient:
        """Raises ConfigError where the account's files are missing."""
        timeout = httpx2.Timeout(10.0, read=RESYNC + 30.0)
        if self.api.startswith("http://"):
            return httpx2.AsyncClient(base_url=self.api, timeout=timeout, trust_env=False)
        try:
            context = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
        except OSError as error:
            raise ConfigError(f"{self._account / 'ca.crt'} cannot be read: {error.strerror}") from None
        return httpx2.AsyncClient(base_url=self.api, timeout=timeout, trust_env=False, verify=context)

    def headers(self) -> dict[str, str]:
        """Read anew each time: the kubelet renews the token."""
        if self.api.startswith("http://"):
            return {}
        try:
            token = (self._account / "token").read_text(encoding="ascii").strip()
        except OSError as error:
            raise ConnectError(f"{self._account / 'token'} cannot be read: {error.strerror}") from None
        return {"authorization": f"Bearer {token}"}


class EndpointSliceSource:
    """Follows one Service. A ``Source``."""

    def __init__(self, cluster: Cluster, namespace: str, service: str, models: frozenset[str]) -> None:
        self._cluster = cluster
        self._service = f"{namespace}/{service}"
        self._path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self._selector = {"labelSelector": f"kubernetes.io/service-name={service}"}
        self._models = models
        self._slices: dict[str, Slice] = {}
        self._published: frozenset[Target] | None = None

    async def run(self, publish: Publish) -> None:
        pause = _LEAST_PAUSE
        async with self._cluster.client() as client:
            while True:
                try:
                    version = await self._list(client)
                    self._publish(publish)
                    pause = _LEAST_PAUSE
                    await self._watch(client, version, publish)
                except (httpx2.HTTPError, msgspec.MsgspecError, ConnectError, UnicodeDecodeError) as error:
                    log.warning("discovery failed", extra={"service": self._service, "error": _say(error)})
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  jitter
                    pause = min(_MOST_PAUSE, pause * 2)

    async def _list(self, client: httpx2.AsyncClient) -> str:
        """Learn of all slices; the version to watch from."""
        slices: dict[str, Slice] = {}
        query: dict[str, Any] = {**self._selector, "limit": _PAGE}
        while True:
            answer = await client.get(self._path, params=query, headers=self._cluster.headers())
            answer.raise_for_status()
            page = msgspec.json.decode(answer.content, type=_List)
            slices |= {item.metadata.name: item for item in page.items}
            if not page.metadata.next:
                self._slices = slices
                return page.metadata.resource_version
            query["continue"] = page.metadata.next

    async def _watch(self, client: httpx2.AsyncClient, version: str, publish: Publish) -> None:
        """Follow the changes until the server ends the watch, or says that ``version`` is too old (410)."""
        query = {
            **self._selector,
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(RESYNC),
        }
        async with client.stream("GET", self._path, params=query, headers=self._cluster.headers()) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                event = msgspec.json.decode(line, type=_Event)
                if event.type == "ERROR":
                    return
                if event.type != "BOOKMARK":
                    self._take(event)
                    self._publish(publish)

    def _take(self, event: _Event) -> None:
        changed = msgspec.json.decode(event.object, type=Slice)
        if event.type == "DELETED":
            self._slices.pop(changed.metadata.name, None)
        else:
            self._slices[changed.metadata.name] = changed

    def _publish(self, publish: Publish) -> None:
        found = frozenset(targets(self._slices, self._models))
        if found != self._published:
            self._published = found
            publish(found)


def targets(slices: Mapping[str, Slice], models: frozenset[str]) -> list[Target]:
    """The workers in ``slices``: of each endpoint the port ``http``, or the only one, and ``ops`` where it has one."""
    found = []
    for slice_ in slices.values():
        ports = {port.name or "": port.port for port in slice_.ports or []}
        traffic = ports.get("http") or (next(iter(ports.values())) if len(ports) == 1 else None)
        if traffic is None or slice_.address_type not in ("IPv4", "IPv6"):
            continue
        ops = ports.get("ops")
        for endpoint in slice_.endpoints or []:
            if endpoint.addresses and not endpoint.conditions.terminating:
                address = endpoint.addresses[0]
                host = f"[{address}]" if ":" in address else address
                ops_url = f"http://{host}:{ops}" if ops else None
                found.append(Target(f"http://{host}:{traffic}", ops_url, models))
    return found


def _say(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__

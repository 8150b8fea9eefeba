"""Workers behind a headless Service of Kubernetes, or any name with SRV records (RFC 2782).

``_http._tcp.NAME`` tells the traffic ports and ``_ops._tcp.NAME`` the ops ports; both are matched by address. A name
without ops records has bare engines. What leaves DNS is not dead: Kubernetes takes a pod out as soon as it is to end,
or when its readiness probe fails; so the roster lets it drain.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver
from dns.rdtypes.IN.SRV import SRV

from headrace.errors import ConnectError
from headrace.router.discovery.target import Publish, Target

log = logging.getLogger(__name__)

INTERVAL = 5.0
_BELIEVED = 3
"""Answers in a row that must be empty before the last workers are let go: name servers have bad moments."""
_ADDRESSES = (dns.rdatatype.A, dns.rdatatype.AAAA)


class _Place(NamedTuple):
    address: str
    port: int


class DnsSource:
    """Asks again and again. A ``Source``."""

    def __init__(
        self,
        name: str,
        models: frozenset[str],
        resolver: dns.asyncresolver.Resolver,
        *,
        interval: float = INTERVAL,
    ) -> None:
        self._name = name
        self._models = models
        self._resolver = resolver
        self._interval = interval
        self._known: frozenset[Target] | None = None
        self._empty = 0

    async def run(self, publish: Publish) -> None:
        while True:
            try:
                found = await self.look()
            except ConnectError as error:
                log.warning("discovery failed", extra={"service": self._name, "error": str(error)})
            else:
                if self._believes(found) and found != self._known:
                    self._known = found
                    publish(found)
            await asyncio.sleep(self._interval)

    async def look(self) -> frozenset[Target]:
        """Who is there now. Raises ConnectError where the name servers do not tell."""
        traffic = await self._places("http")
        ops = {place.address: place for place in await self._places("ops")} if traffic else {}
        return frozenset(
            Target(_url(place), _url(ops[place.address]) if place.address in ops else None, self._models)
            for place in traffic
        )

    def _believes(self, found: frozenset[Target]) -> bool:
        self._empty = 0 if found else self._empty + 1
        return bool(found) or not self._known or self._empty >= _BELIEVED

    async def _places(self, port: str) -> list[_Place]:
        answer = await ask(self._resolver, f"_{port}._tcp.{self._name}", dns.rdatatype.SRV)
        if answer is None:
            return []
        told = {
            rrset.name: [str(record.address) for record in rrset]
            for rrset in answer.response.additional
            if rrset.rdtype in _ADDRESSES
        }
        places = []
        for record in answer:
            assert isinstance(record, SRV)
            addresses = told.get(record.target) or await addresses_of(self._resolver, record.target.to_text())
            places += [_Place(address, record.port) for address in addresses[:1]]
        return places


async def addresses_of(resolver: dns.asyncresolver.Resolver, name: str) -> list[str]:
    """The addresses of ``name``; empty where it does not exist. Raises ConnectError where the servers do not tell."""
    for kind in _ADDRESSES:
        answer = await ask(resolver, name, kind)
        if answer is not None:
            return [str(record.address) for record in answer]
    return []


async def ask(
    resolver: dns.asyncresolver.Resolver, name: str, kind: dns.rdatatype.RdataType
) -> dns.resolver.Answer | None:
    """The records; None where there are none. Raises ConnectError where the servers do not tell."""
    try:
        return await resolver.resolve(name, kind, search=True)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return None
    except (dns.exception.DNSException, OSError) as error:
        raise ConnectError(f"{name} cannot be looked up: {error}") from None


def _url(place: _Place) -> str:
    host = f"[{place.address}]" if ":" in place.address else place.address
    return f"http://{host}:{place.port}"


def resolver(nameservers: Sequence[str] = ()) -> dns.asyncresolver.Resolver:
    """The machine's own, or one that asks ``nameservers``: ``ADDRESS`` or ``ADDRESS:PORT``."""
    if not nameservers:
        return dns.asyncresolver.Resolver()
    made = dns.asyncresolver.Resolver(configure=False)
    made.nameservers = [name.rpartition(":")[0] or name for name in nameservers]
    made.nameserver_ports = {
        host: int(port) for host, _, port in (name.rpartition(":") for name in nameservers) if host
    }
    return made

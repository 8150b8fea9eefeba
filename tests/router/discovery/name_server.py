"""A name server on loopback, for SRV and address records: the wire format is dnspython's own."""

from __future__ import annotations

import asyncio
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer(asyncio.DatagramProtocol):
    """Answers from ``records``; anything else is NXDOMAIN, or what ``rcode`` says."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        """By name (with the last dot) and kind: the records' texts."""
        self.glue = True
        """Whether the addresses of SRV targets come along, as CoreDNS sends them."""
        self.rcode = dns.rcode.NOERROR
        self.silent = False
        self.asked: list[tuple[str, str]] = []
        self._transport: asyncio.DatagramTransport

    @classmethod
    async def start(cls) -> NameServer:
        loop = asyncio.get_running_loop()
        _, server = await loop.create_datagram_endpoint(cls, local_addr=("127.0.0.1", 0))
        return server

    @property
    def address(self) -> str:
        host, port = self._transport.get_extra_info("sockname")[:2]
        return f"{host}:{port}"

    def close(self) -> None:
        self._transport.close()

    def pod(self, service: str, address: str, *, http: int = 8020, ops: int | None = 9120) -> None:
        """A pod behind a headless Service."""
        host = f"{address.replace('.', '-').replace(':', '-')}.{service}."
        self.records[host, "AAAA" if ":" in address else "A"] = [address]
        for name, port in (("http", http), ("ops", ops)):
            if port is not None:
                self.records.setdefault((f"_{name}._tcp.{service}.", "SRV"), []).append(f"0 50 {port} {host}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | bytes, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if self.silent:
            return
        answer = dns.message.make_response(query)
        texts = self.records.get((name, kind), [])
        if self.rcode != dns.rcode.NOERROR:
            answer.set_rcode(self.rcode)
        elif texts:
            answer.answer.append(dns.rrset.from_text(name, 5, "IN", kind, *texts))
            if self.glue and kind == "SRV":
                for text in texts:
                    self._add_address(answer, text.split()[-1])
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(), addr)

    def _add_address(self, answer: dns.message.Message, host: str) -> None:
        for kind in ("A", "AAAA"):
            if (host, kind) in self.records:
                answer.additional.append(dns.rrset.from_text(host, 5, "IN", kind, *self.records[host, kind]))

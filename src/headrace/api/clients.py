"""Where requests come from: which address, and how often that one shows a wrong key."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from headrace.errors import ConfigError, RateLimited, Unauthorized
from headrace.wire.message import Request

_KNOWN = 10_000
"""Addresses that are remembered at most; the ones that were quiet for the longest go first."""
_PER_MINUTE = 60
"""Wrong keys that an address may show; as many at once."""
_GAP = 60.0 / _PER_MINUTE

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Clients:
    """Believes ``X-Forwarded-For`` from the ``trusted`` proxies only (addresses or networks such as 10.0.0.0/8)."""

    def __init__(self, trusted: Sequence[str]) -> None:
        try:
            self._trusted = [ipaddress.ip_network(network) for network in trusted]
        except ValueError as error:
            raise ConfigError(f"trusted_proxies: {error}") from None
        self._known: dict[str, bool] = {}

    def address(self, request: Request) -> str:
        """The nearest address that no trusted proxy has; the peer's own where it is none itself."""
        peer = request.peer
        if not self._trusted or not self._is_trusted(peer):
            return peer
        forwarded = request.headers.get(b"x-forwarded-for", b"").decode("latin-1").replace(" ", "")
        for hop in reversed(forwarded.split(",")):
            if _parse(hop) is None:
                return peer  # what a trusted proxy wrote is an address; this is somebody else's
            peer = hop
            if not self._is_trusted(hop):
                return hop
        return peer

    def _is_trusted(self, text: str) -> bool:
        known = self._known.get(text)
        if known is None:
            address = _parse(text)
            known = address is not None and any(address in network for network in self._trusted)
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[text] = known
        return known


class WrongKeys:
    """Counts them per address (IPv6: per /64), as a leaky bucket; a valid key is never asked for here."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def judge(self, error: Unauthorized, address: str) -> Unauthorized | RateLimited:
        """Count one more; what to answer: ``error`` itself, or that these were too many."""
        now, name = self._clock(), _network(address)
        until = max(self._until.pop(name, 0.0), now)
        wait = until + _GAP - now - 60.0
        self._until[name] = until if wait > 0 else until + _GAP
        if len(self._until) > _KNOWN:
            self._until.popitem(last=False)
        if wait <= 0:
            return error
        return RateLimited(
            f"Too many wrong keys from your address: {_PER_MINUTE} a minute are answered. Check the key.",
            code="too_many_wrong_keys",
            retry_after=wait,
        )


def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _network(address: str) -> str:
    """Whoever has one IPv6 address has 2^64 of them."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed) if parsed is not None else address
